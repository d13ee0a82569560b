import type { Logger } from "../../../platform/observability/log.ts";
import type { Disk } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { jittered, pause } from "../../control-plane/backoff.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import { readSmart, type SmartReadings } from "../disks/smart.ts";

export interface SmartWatchOptions {
  host: HostChannel;
  intervalMs: number;
  /** The disks' inventory is another with it. */
  onRead(): void;
  log: Logger;
}

/** The health of a host's disks, asked at an interval; a disk that comes is asked at once. */
export class SmartWatch {
  readonly #options: SmartWatchOptions;
  #disks: readonly Disk[] = [];
  #readings: SmartReadings = new Map();
  /** Serial numbers by name, of those that were asked. */
  readonly #asked = new Map<string, string | undefined>();
  #came = new AbortController();

  constructor(options: SmartWatchOptions) {
    this.#options = options;
  }

  get readings(): SmartReadings {
    return this.#readings;
  }

  /** These are the host's disks now. */
  know(disks: readonly Disk[]): void {
    this.#disks = disks;
    for (const name of this.#asked.keys()) if (!disks.some((disk) => disk.name === name)) this.#asked.delete(name);
    if (this.#unasked().length > 0) this.#came.abort();
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { intervalMs } = this.#options;
    let allAt = performance.now();
    while (!signal.aborted) {
      this.#came = new AbortController();
      const isTurn = performance.now() >= allAt;
      if (isTurn) allAt = performance.now() + jittered(intervalMs, 0.05);
      const disks = isTurn ? this.#disks : this.#unasked();
      if (disks.length > 0) await this.#ask(disks, signal);
      if (this.#unasked().length === 0) await pause(allAt - performance.now(), AbortSignal.any([signal, this.#came.signal]));
    }
  }

  async #ask(disks: readonly Disk[], signal: AbortSignal): Promise<void> {
    const { host, onRead, log } = this.#options;
    for (const { name, serial } of disks) this.#asked.set(name, serial);
    try {
      const fresh = await readSmart(host, disks, { previous: this.#readings, signal });
      this.#readings = new Map([...this.#readings, ...fresh].filter(([name]) => this.#asked.has(name)));
      onRead();
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "the disks' health cannot be read");
    }
  }

  #unasked(): Disk[] {
    return this.#disks.filter(({ name, serial }) => !this.#asked.has(name) || this.#asked.get(name) !== serial);
  }
}
