import type { HttpLimits } from "./image-http.ts";
import type { TransferLimits } from "./image-transfer.ts";

export interface FetchLimits extends HttpLimits, TransferLimits {
  /** So large an image may be as a disk. */
  maxDiskBytes: number;
  /** Of a packed image: bytes that each of its bytes may become, counted beyond the first `unpackFreeBytes`. */
  maxUnpackRatio: number;
  unpackFreeBytes: number;
  /** For one image, whatever happens. */
  totalTimeoutMs: number;
  /** Images at a time; others wait. */
  concurrent: number;
}

export const FETCH_LIMITS: FetchLimits = {
  maxBytes: 256 * 2 ** 30,
  maxDiskBytes: 2 * 2 ** 40,
  maxUnpackRatio: 200,
  unpackFreeBytes: 2 ** 30,
  idleTimeoutMs: 30_000,
  connectTimeoutMs: 15_000,
  totalTimeoutMs: 6 * 3_600_000,
  maxRedirects: 5,
  maxAttempts: 5,
  retryPauseMs: 1000,
  concurrent: 2,
};
