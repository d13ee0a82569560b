/** Takes what is packed and gives what was, to `output`, at its pace. Failures of `output` come out of `write` or `end` as they are. */
export interface Decoder {
  /** Resolves when more may come. FAILED_PRECONDITION ImageMalformed for what is damaged. */
  write(chunk: Uint8Array): Promise<void>;
  /** Resolves when everything was given. FAILED_PRECONDITION ImageMalformed where it is not whole. */
  end(): Promise<void>;
  /** Lets go of everything; also after the end, and again. */
  abort(): Promise<void>;
}

export type Output = (chunk: Uint8Array) => Promise<void>;
