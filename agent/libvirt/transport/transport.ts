import type { Readable, Writable } from "node:stream";

/** Bytes to and from a daemon, however it is reached. */
export interface Transport {
  readonly input: Readable;
  readonly output: Writable;
  /** Resolves, once, with why the way is gone. Never rejects. */
  readonly ended: Promise<Error>;
  /** Resolves when nothing of it is left. */
  close(): Promise<void>;
}
