import { createGunzip } from "node:zlib";
import type { Decoder, Output } from "./decoder.ts";
import { type Codec, StreamDecoder } from "./stream-decoder.ts";

const CHUNK_BYTES = 256 * 1024;

/** One or several members. Zeros behind the last are left aside, as gzip does. */
export function gzipDecoder(output: Output): Decoder {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  const codec: Codec = {
    input: gunzip,
    output: gunzip,
    confirm: async () => undefined,
    destroy: async () => {
      gunzip.destroy();
    },
  };
  return new StreamDecoder(codec, output);
}
