/** Where the bytes of an image come from: an HTTP server, a file. */
export interface ByteSource {
  /**
   * From the beginning, or from an offset where the file is still the one that the validator tells; `OpenedBytes.offset` says which. Throws
   * TransferBroken for what is worth another attempt, FleetError otherwise.
   */
  open(resume: Resume | null, signal: AbortSignal): Promise<OpenedBytes>;
  /** Whether it is still the one that the validator tells. */
  isUnchanged(validator: string, signal: AbortSignal): Promise<boolean>;
}

export interface Resume {
  offset: number;
  validator: string;
}

export interface OpenedBytes {
  offset: number;
  /** Of the whole file; null where nobody says. */
  total: number | null;
  /** By which the source knows this very file later; null where it cannot. */
  validator: string | null;
  body: AsyncIterable<Uint8Array>;
  /** To be called when it is not read any further. */
  close(): Promise<void>;
}

/** A transfer that broke, or a server that has trouble: it is tried again. */
export class TransferBroken extends Error {
  override readonly name = "TransferBroken";
}

/** The source does not have the rest that was asked for. */
export class RestMissing extends TransferBroken {}
