import type { Logger } from "../../../../platform/observability/log.ts";
import type { MadeVolumes } from "./instance-disks.ts";
import type { StoragePool } from "./storage-pool.ts";

const TIMEOUT_MS = 20_000;

/** Removes what was made, where something failed afterwards. */
export class Undo implements MadeVolumes {
  readonly #log: Logger;
  #made: { pool: StoragePool; name: string }[] = [];

  constructor(log: Logger) {
    this.#log = log;
  }

  note(pool: StoragePool, name: string): void {
    this.#made.push({ pool, name });
  }

  forget(pool: StoragePool, name: string): void {
    this.#made = this.#made.filter((made) => made.pool !== pool || made.name !== name);
  }

  /** Not by the caller's signal, which may be what ended the work. Never throws: what is left now is found by `prepare` and `remove`. */
  async undo(): Promise<void> {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    await Promise.all(
      this.#made.map(({ pool, name }) =>
        pool.remove(name, signal).catch((error: unknown) => this.#log.warn({ err: error, volume: name }, "a volume is left behind")),
      ),
    );
  }
}
