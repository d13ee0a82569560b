import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { ClusterClaims } from "../cluster-claims.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import type { ClusterNews } from "../cluster-news.ts";
import type { KubernetesClusterView } from "../cluster-types.ts";
import type { KubernetesHealthWriter } from "../health-writer.ts";
import { type AttendanceParts, AttendedCluster } from "./attended-cluster.ts";
import { CheckLanes } from "./check-lanes.ts";

/** How clusters are checked. In milliseconds. */
export interface HealthCheckConfig {
  /** Between the checks of a cluster that answers. */
  checkIntervalMs: number;
  /** Of one check. */
  checkDeadlineMs: number;
  /** From a first failure to the check that makes sure of it; also the least pause between any two checks of a cluster. */
  confirmMs: number;
  /** The longest pause between the checks of a cluster that does not answer. */
  longestPauseMs: number;
  /** How long a replica that died keeps its clusters from the others. */
  claimMs: number;
}

export const DEFAULT_HEALTH_CHECK_CONFIG: HealthCheckConfig = {
  checkIntervalMs: 60_000,
  checkDeadlineMs: 10_000,
  confirmMs: 5_000,
  longestPauseMs: 300_000,
  claimMs: 30_000,
};

export interface HealthChecksParts {
  ctx: RequestContext;
  claims: ClusterClaims;
  clients: ClusterClients;
  news: ClusterNews;
  writer: KubernetesHealthWriter;
  config: HealthCheckConfig;
  onChecked: AttendanceParts["onChecked"];
}

const COUNTS_MS = 2_000;
const AT_ONCE = 8;
const SLOW_MS = 2_000;

/** Checks all enabled clusters that no other replica checks, each at its own pace. */
export class HealthChecks {
  readonly #parts: HealthChecksParts;
  /** Tells this process from every other one. */
  readonly #by = randomUUID();
  readonly #attendance: AttendanceParts;
  /** Enabled ones, as they were last heard of. */
  readonly #known = new Map<string, KubernetesClusterView>();
  readonly #attended = new Map<string, AttendedCluster>();
  /** Those that were stopped and have not ended. */
  readonly #ending = new Set<Promise<void>>();
  #news = Promise.withResolvers<void>();
  #loop: Promise<void> = Promise.resolve();
  #forget: () => void = () => undefined;

  constructor(parts: HealthChecksParts) {
    const { ctx, clients, writer, config, onChecked } = parts;
    this.#parts = parts;
    this.#attendance = {
      ...{ ctx, clients, writer, onChecked, deadlineMs: config.checkDeadlineMs, countsMs: COUNTS_MS },
      lanes: new CheckLanes({ atOnce: AT_ONCE, slowMs: SLOW_MS }),
      pace: { intervalMs: config.checkIntervalMs, confirmMs: config.confirmMs, longestMs: config.longestPauseMs },
    };
  }

  start(): void {
    this.#forget = this.#parts.news.onChange((id, cluster) => this.#hear(id, cluster));
    this.#loop = this.#run();
  }

  /** A check that is not waited for, where this replica checks the cluster. */
  checkSoon(id: string): void {
    this.#attended.get(id)?.checkSoon();
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    this.#forget();
    await this.#loop;
    for (const id of [...this.#attended.keys()]) this.#leave(id);
    await Promise.all(this.#ending);
    await this.#parts.claims
      .releaseChecks(this.#by)
      .catch((error: unknown) => this.#parts.ctx.log.warn({ err: error }, "clusters to be checked could not be given up"));
  }

  #hear(id: string, cluster: KubernetesClusterView | null): void {
    const attended = this.#attended.get(id);
    const known = this.#known.get(id);
    if (cluster?.enabled) this.#known.set(id, cluster);
    else this.#known.delete(id);
    if (attended && cluster?.enabled && attended.revision >= cluster.revision) return attended.learn(cluster);
    if (attended) this.#leave(id);
    // What is new, or reached in another way, is checked at once.
    if (cluster?.enabled && (known === undefined || known.revision < cluster.revision)) this.#news.resolve();
  }

  async #run(): Promise<void> {
    const { ctx, claims, config } = this.#parts;
    const { signal, log } = ctx;
    while (!signal.aborted) {
      this.#news = Promise.withResolvers();
      try {
        const held = await claims.claimChecks(this.#by, config.claimMs);
        for (const id of [...this.#attended.keys()]) if (!held.has(id)) this.#leave(id);
        for (const id of held) this.#attend(id);
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, "clusters to be checked could not be claimed; trying again");
      }
      await Promise.race([this.#news.promise, this.#rest()]);
    }
  }

  #attend(id: string): void {
    const cluster = this.#known.get(id);
    if (cluster === undefined || this.#attended.has(id)) return;
    this.#attended.set(id, new AttendedCluster(this.#attendance, cluster));
  }

  #leave(id: string): void {
    const attended = this.#attended.get(id);
    if (attended === undefined) return;
    this.#attended.delete(id);
    const ending = attended.stop().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  async #rest(): Promise<void> {
    const { ctx, config } = this.#parts;
    await sleep(config.claimMs / 6, undefined, { signal: ctx.signal, ref: false }).catch(() => undefined);
  }
}
