import { noSpace } from "./storage-errors.ts";
import type { StoragePool } from "./storage-pool.ts";

/** Left to the host. */
const RESERVE_BYTES = 256 * 2 ** 20;
/** So often the pool is looked at again: others write to its file system, too. */
const LOOK_EVERY_BYTES = 2 ** 30;

/** Room that is kept for a file while it is written. */
export interface SpaceClaim {
  /** To be called before so many bytes are written. FAILED_PRECONDITION InsufficientDisk. */
  take(bytes: number): Promise<void>;
  release(): void;
}

/** The room in a pool that several files are written into at the same time. */
export class PoolSpace {
  readonly #pool: StoragePool;
  /** Bytes that are still to come, of each. */
  readonly #promised = new Map<symbol, number>();

  constructor(pool: StoragePool) {
    this.#pool = pool;
  }

  /** `bytes`: null where nobody knows how many there will be. FAILED_PRECONDITION InsufficientDisk where they do not fit. */
  async claim(bytes: number | null, signal: AbortSignal): Promise<SpaceClaim> {
    const key = Symbol("claim");
    await this.#pool.refresh(signal);
    const room = (await this.#room(signal)) - this.#promisedToOthers(key);
    if ((bytes ?? 0) > room) throw noSpace(`The image has ${bytes} bytes`);
    this.#promised.set(key, bytes ?? 0);
    let untilLook = Math.min(room, LOOK_EVERY_BYTES);
    const look = async () => {
      await this.#pool.refresh(signal);
      untilLook = Math.min(await this.#room(signal), LOOK_EVERY_BYTES);
    };
    return {
      take: async (count) => {
        if (count > untilLook) await look();
        if (count > untilLook) throw noSpace("The image is larger than what is left");
        untilLook -= count;
        this.#promised.set(key, Math.max(0, (this.#promised.get(key) ?? 0) - count));
      },
      release: () => this.#promised.delete(key),
    };
  }

  async #room(signal: AbortSignal): Promise<number> {
    return (await this.#pool.freeBytes(signal)) - RESERVE_BYTES;
  }

  #promisedToOthers(key: symbol): number {
    let sum = 0;
    for (const [other, bytes] of this.#promised) if (other !== key) sum += bytes;
    return sum;
  }
}
