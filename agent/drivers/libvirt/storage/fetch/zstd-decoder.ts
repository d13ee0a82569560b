import { constants, createZstdDecompress, type ZstdDecompress } from "node:zlib";
import { damagedArchive } from "./damaged-archive.ts";
import type { Decoder, Output } from "./decoder.ts";
import { type Codec, StreamDecoder } from "./stream-decoder.ts";

const CHUNK_BYTES = 256 * 1024;
/** 128 MiB of memory: what the zstd program allows itself, too. */
const WINDOW_LOG_MAX = 27;

/**
 * Frames one behind the other, as parallel packers write them. Node's own stream ends with the first frame that ends within a chunk and
 * leaves the rest of that chunk aside without a word: so each such rest gets a stream of its own.
 */
export class ZstdDecoder implements Decoder {
  readonly #output: Output;
  #stream: ZstdDecompress;
  #decoder: StreamDecoder;

  constructor(output: Output) {
    this.#output = output;
    this.#stream = newStream();
    this.#decoder = new StreamDecoder(codecOf(this.#stream), output);
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let rest = chunk; rest.length > 0; ) {
      const before = this.#stream.bytesWritten;
      await this.#decoder.write(rest);
      const taken = this.#stream.bytesWritten - before;
      if (taken === rest.length) return;
      if (taken <= 0) throw damagedArchive("there is something behind its end that is not Zstandard");
      rest = rest.subarray(taken);
      await this.#decoder.end();
      this.#stream = newStream();
      this.#decoder = new StreamDecoder(codecOf(this.#stream), this.#output);
    }
  }

  async end(): Promise<void> {
    await this.#decoder.end();
  }

  async abort(): Promise<void> {
    await this.#decoder.abort();
  }
}

function newStream(): ZstdDecompress {
  return createZstdDecompress({ chunkSize: CHUNK_BYTES, params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX } });
}

function codecOf(stream: ZstdDecompress): Codec {
  return {
    input: stream,
    output: stream,
    confirm: async () => undefined,
    destroy: async () => {
      stream.destroy();
    },
  };
}
