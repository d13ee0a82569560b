import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { waitAtMost } from "../../libvirt/wait.ts";
import { type HostAbilities, readAbilities } from "./abilities.ts";
import { BootProbe, type ProbeCache } from "./boot-probe.ts";
import type { InstanceStorage } from "./storage/instance-storage.ts";

export interface HostProbeOptions {
  client: LibvirtClient;
  log: Logger;
  storage: Pick<InstanceStorage, "ensurePools">;
  cache: ProbeCache | null;
  readHostFile: ((path: string) => Promise<string>) | null;
}

const PROBE_MS = 60_000;
/** Emulation is slow enough to ask now and then whether it is still needed. */
const EMULATION_KEPT_MS = 60 * 60_000;

/** The host's abilities, asked for once for each connection and all who want them. */
export class HostProbe {
  readonly #options: HostProbeOptions;
  readonly #probe: BootProbe;
  readonly #closing = new AbortController();
  #running: Promise<HostAbilities> | null = null;
  #answeredAt = 0;

  constructor(options: HostProbeOptions) {
    const { client, log, cache, readHostFile } = options;
    this.#options = options;
    const bootId = readHostFile && (async () => (await readHostFile("/proc/sys/kernel/random/boot_id")).trim());
    this.#probe = new BootProbe({ client, log, ...(cache && { cache }), ...(bootId && { bootId }) });
  }

  async abilities(signal: AbortSignal): Promise<HostAbilities> {
    const known = await waitAtMost(this.#current(), Number.POSITIVE_INFINITY, signal, () => new Error("never"));
    if (known.accelerator === "kvm" || performance.now() - this.#answeredAt < EMULATION_KEPT_MS) return known;
    this.forget();
    return await this.abilities(signal);
  }

  /** They are asked for again: libvirt or QEMU may be another one. */
  forget(): void {
    this.#running = null;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running?.catch(() => undefined);
  }

  #current(): Promise<HostAbilities> {
    if (this.#running !== null) return this.#running;
    const running = this.#read(AbortSignal.any([this.#closing.signal, AbortSignal.timeout(PROBE_MS)]));
    this.#running = running;
    running.then(
      () => {
        this.#answeredAt = performance.now();
      },
      () => {
        if (this.#running === running) this.#running = null;
      },
    );
    return running;
  }

  async #read(signal: AbortSignal): Promise<HostAbilities> {
    const { client, storage, log } = this.#options;
    // The boot probe's disk goes there.
    await storage.ensurePools(signal).catch((error: unknown) => log.warn({ err: error }, "storage pools are not ready"));
    return await readAbilities(client, this.#probe, signal);
  }
}
