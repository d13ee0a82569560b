import type { RequestContext } from "../../../platform/request-context.ts";
import type { ClustersConfig } from "../config.ts";
import type { BeatCount, LeaseTable, MonotonicClock } from "./lease-table.ts";
import { readBeats, stillSilent, writeLiveness } from "./liveness-writes.ts";
import { applyLeaseExpiry } from "./node-state.ts";
import type { NodeWriter } from "./node-writer.ts";
import { PauseDetector } from "./pause-detector.ts";

export interface LeaseKeeperParts {
  /** The control plane itself: its log, and the signal that ends the loop. */
  ctx: RequestContext;
  writer: NodeWriter;
  leases: LeaseTable;
  config: Pick<ClustersConfig, "leaseTtlSeconds" | "sweepIntervalMs" | "livenessIntervalMs" | "pauseMs">;
  clock: MonotonicClock;
}

/** Nodes that are marked in one transaction. */
const BATCH = 100;

/**
 * Writes down who was heard of, reads whom the other replicas heard, and marks nodes whose lease ran out. Any number of replicas may do
 * this on one database: a node is marked by the first whose lease for it is over, and only if nobody else heard of it.
 */
export class LeaseKeeper {
  readonly #parts: LeaseKeeperParts;
  readonly #pauses: PauseDetector;
  readonly #watchdog: NodeJS.Timeout;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #stopped = false;
  /** By the clock; when the other replicas' counters were last read. */
  #readAt: number;

  constructor(parts: LeaseKeeperParts) {
    this.#parts = parts;
    this.#pauses = new PauseDetector(parts.config.pauseMs, parts.clock);
    this.#readAt = parts.clock();
    // Its own timer: a sweep that waits for the database is no pause.
    this.#watchdog = setInterval(() => this.#lookForPause(), Math.min(1_000, parts.config.pauseMs / 4));
    this.#watchdog.unref();
  }

  /** Gives every node a full lease and starts to judge. Throws where the database does not answer. */
  async start(): Promise<void> {
    await this.#exchange();
    this.#schedule();
  }

  /** Stops to judge, and writes what was heard last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#watchdog);
    if (this.#timer) clearTimeout(this.#timer);
    await this.#running;
    await this.#write().catch((error: unknown) => this.#parts.ctx.log.warn({ err: error }, "the last heartbeats could not be written"));
  }

  /** One round, also for tests: exchange if it is time, then judge. */
  async sweep(): Promise<void> {
    const { config, clock } = this.#parts;
    if (clock() - this.#readAt >= config.livenessIntervalMs) await this.#exchange();
    await this.#expire();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.sweep()
        .catch((error: unknown) => this.#parts.ctx.log.warn({ err: error }, "leases could not be judged; trying again"))
        .finally(() => this.#schedule());
    }, this.#parts.config.sweepIntervalMs);
    this.#timer.unref();
  }

  /** Writes what was heard here and reads what was heard elsewhere. */
  async #exchange(): Promise<void> {
    const { writer, leases, clock, config, ctx } = this.#parts;
    await this.#write();
    const readAt = clock();
    const rows = await readBeats(writer.store);
    leases.observe(rows, readAt);
    const blindMs = clock() - this.#readAt;
    if (blindMs > config.pauseMs + 2 * config.livenessIntervalMs) {
      ctx.log.warn({ blindMs: Math.round(blindMs) }, "the database did not answer for a while: every node gets a full lease");
      leases.grantAll();
    }
    this.#readAt = clock();
  }

  async #write(): Promise<void> {
    const { writer, leases } = this.#parts;
    const heard = leases.takeUnwritten();
    if (heard.size === 0) return;
    try {
      await writeLiveness(writer.store, heard);
      leases.written(heard.keys());
    } catch (error) {
      leases.putBack(heard);
      throw error;
    }
  }

  async #expire(): Promise<void> {
    const { leases } = this.#parts;
    this.#lookForPause();
    const expired = leases.expired();
    for (let start = 0; start < expired.length && !this.#stopped; start += BATCH) {
      await this.#expireBatch(expired.slice(start, start + BATCH));
    }
  }

  async #expireBatch(expired: BeatCount[]): Promise<void> {
    const { writer, leases, config, ctx } = this.#parts;
    const marked = await writer.transaction(async (nodes) => {
      const ids: string[] = [];
      const silent = await stillSilent(nodes.em, expired, writer.store.dialect);
      const locked = await nodes.lock({ id: { $in: [...silent] }, lease: "running", deregisteredAt: null });
      this.#lookForPause();
      for (const node of locked) {
        if (!leases.isExpired(node.id)) continue;
        nodes.change(node, () => applyLeaseExpiry(node, config.leaseTtlSeconds, new Date()));
        ids.push(node.id);
      }
      return ids;
    });
    for (const id of marked) if (leases.isExpired(id)) leases.drop(id);
    // Those whose counter moved are renewed by the next exchange.
    if (marked.length > 0) ctx.log.warn({ nodes: marked.length, first: marked.slice(0, 5) }, "leases ran out");
    if (marked.length < expired.length) await this.#exchange();
  }

  #lookForPause(): void {
    const pauseMs = this.#pauses.look();
    if (pauseMs === null) return;
    this.#parts.ctx.log.warn({ pauseMs: Math.round(pauseMs) }, "this process stood still: every node gets a full lease");
    this.#parts.leases.grantAll();
  }
}
