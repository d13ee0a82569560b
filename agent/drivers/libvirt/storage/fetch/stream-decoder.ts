import type { Readable, Writable } from "node:stream";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { damagedArchive } from "./damaged-archive.ts";
import type { Decoder, Output } from "./decoder.ts";

/** What decodes: bytes go in at one end and come out at the other. */
export interface Codec {
  input: Writable;
  output: Readable;
  /** Called once after all of the output; throws where what came was not whole. */
  confirm(): Promise<void>;
  /** Ends it at once; resolves when it is gone. */
  destroy(): Promise<void>;
}

/** A decoder by Node's streams. At most their own buffers are in memory. */
export class StreamDecoder implements Decoder {
  readonly #codec: Codec;
  readonly #pumped: Promise<void>;
  /** The first thing that went wrong. */
  readonly #failed: Promise<never>;

  constructor(codec: Codec, output: Output) {
    this.#codec = codec;
    const failure = Promise.withResolvers<never>();
    this.#failed = failure.promise;
    this.#failed.catch(() => undefined);
    this.#pumped = this.#pump(output);
    this.#pumped.catch(failure.reject);
    // What the output says tells more: an input breaks because of it.
    codec.input.on("error", (error) => void this.#pumped.then(() => failure.reject(archiveError(error))).catch(() => undefined));
  }

  async write(chunk: Uint8Array): Promise<void> {
    const taken = Promise.withResolvers<void>();
    this.#codec.input.write(chunk, (error) => {
      if (!error) taken.resolve();
    });
    await Promise.race([taken.promise, this.#failed]);
  }

  async end(): Promise<void> {
    this.#codec.input.end();
    await Promise.race([this.#pumped, this.#failed]);
  }

  async abort(): Promise<void> {
    await this.#codec.destroy();
    await this.#pumped.catch(() => undefined);
  }

  async #pump(output: Output): Promise<void> {
    try {
      for await (const chunk of this.#codec.output as AsyncIterable<Buffer>) await output(chunk);
    } catch (error) {
      if (!(error instanceof FleetError)) await this.#codec.confirm();
      throw archiveError(error);
    }
    await this.#codec.confirm();
  }
}

/** What zlib says of its input, or a pipe that nobody reads; everything else stays as it is. */
function archiveError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^(Z_|ZSTD_|ERR_TRAILING|EPIPE)/.test(code) ? damagedArchive((error as Error).message, error) : error;
}
