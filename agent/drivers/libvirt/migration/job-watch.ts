import type { Logger } from "../../../../platform/observability/log.ts";
import type { MigrationProgress } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { progressOf } from "./job-progress.ts";

export interface JobWatchOptions {
  client: LibvirtClient;
  dom: DomainReference;
  /** In milliseconds; 0: QEMU's own 300. */
  maxDowntimeMs: number;
  /** After so many seconds the guest may stand still as long as it takes; 0: never. */
  patienceSeconds: number;
  onProgress: (progress: MigrationProgress) => void;
  log: Logger;
}

const EVERY_MS = 500;
const ASK_MS = 5000;
/** More than any memory takes; QEMU allows 2000 s. */
const STANDING_STILL_MS = 1_900_000;
const NO_JOB = 0;
const COMPLETED = 3;

/** Looks at a migration while it runs: tells how far it is, and sets what can only be set then. */
export class JobWatch {
  readonly #options: JobWatchOptions;
  readonly #stopping = new AbortController();
  readonly #work: Promise<void>;
  readonly #startedAt = performance.now();
  /** What the guest may stand still now, as it was set last. */
  #downtimeMs = 0;

  constructor(options: JobWatchOptions) {
    this.#options = options;
    this.#work = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#work;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { log } = this.#options;
    for (;;) {
      await pause(EVERY_MS, signal);
      if (signal.aborted) return;
      await this.#look(signal).catch((error: unknown) => {
        if (!signal.aborted) log.debug({ err: error }, "a migration's progress is not known");
      });
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { client, dom, onProgress } = this.#options;
    const { type, params } = await client.call("domainGetJobStats", { dom }, { signal, timeoutMs: ASK_MS });
    if (type === NO_JOB || type >= COMPLETED) return;
    onProgress(progressOf(params));
    await this.#limitDowntime(signal);
  }

  async #limitDowntime(signal: AbortSignal): Promise<void> {
    const { client, dom, maxDowntimeMs, patienceSeconds, log } = this.#options;
    const isLate = patienceSeconds > 0 && performance.now() - this.#startedAt > patienceSeconds * 1000;
    const wanted = isLate ? STANDING_STILL_MS : maxDowntimeMs;
    if (wanted === this.#downtimeMs) return;
    await client.call("domainMigrateSetMaxDowntime", { dom, downtime: wanted }, { signal, timeoutMs: ASK_MS });
    this.#downtimeMs = wanted;
    if (isLate) log.info({ domain: dom.name }, "the guest changes its memory faster than it is copied: it may stand still now");
  }
}
