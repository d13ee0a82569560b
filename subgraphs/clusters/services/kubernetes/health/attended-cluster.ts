import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import type { KubernetesClusterView } from "../cluster-types.ts";
import type { HealthReport, KubernetesHealthWriter } from "../health-writer.ts";
import type { CheckLanes } from "./check-lanes.ts";
import { type CheckPace, pauseAfter } from "./check-pace.ts";
import { checkCluster } from "./cluster-check.ts";
import { ClusterCounts } from "./cluster-counts.ts";
import { type CheckOutcome, isSettled, judge } from "./health-decision.ts";

export interface AttendanceParts {
  ctx: RequestContext;
  clients: Pick<ClusterClients, "api">;
  writer: Pick<KubernetesHealthWriter, "record">;
  lanes: CheckLanes;
  pace: CheckPace;
  /** Of one check, in milliseconds. */
  deadlineMs: number;
  /** How often counts are written, at most, in milliseconds. */
  countsMs: number;
  /** After each check that is over: the cluster before and after it. */
  onChecked(before: KubernetesClusterView, after: KubernetesClusterView): void;
}

/** `lastConnectedAt` alone is no news for so long. */
const CONNECTED_MS = 55_000;

/** Checks one cluster again and again, and counts its nodes and pods between the checks, until it is stopped. */
export class AttendedCluster {
  readonly #parts: AttendanceParts;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #cluster: KubernetesClusterView;
  #counts: ClusterCounts | null = null;
  #failures: number;
  /** When `lastConnectedAt` was last written, by the monotonic clock. */
  #connectedAt = Number.NEGATIVE_INFINITY;
  /** What the last check saw that may have changed since. */
  #seen = { notReady: 0, interrupted: false };
  #soon = new AbortController();

  constructor(parts: AttendanceParts, cluster: KubernetesClusterView) {
    this.#parts = parts;
    this.#cluster = cluster;
    // Another replica, or this one before a restart, was sure of it.
    this.#failures = isDown(cluster) ? 2 : 0;
    this.#ended = Promise.all([this.#check(), this.#count()]).then(() => undefined);
  }

  get revision(): number {
    return this.#cluster.revision;
  }

  /** What others write of the cluster. */
  learn({ revision, prometheus }: KubernetesClusterView): void {
    if (revision === this.#cluster.revision) this.#cluster = { ...this.#cluster, prometheus };
  }

  /** The next check is not waited for; it comes at the earliest `confirmMs` after the last one. */
  checkSoon(): void {
    this.#soon.abort();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #check(): Promise<void> {
    const { lanes, pace } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#soon = new AbortController();
      await lanes.run(this.#failures > 0, () => this.#checkOnce(), signal).catch(() => undefined);
      const pauseMs = pauseAfter(this.#failures, pace);
      const leastMs = Math.min(pauseMs, pace.confirmMs);
      await this.#pause(leastMs, signal);
      await this.#pause(pauseMs - leastMs, AbortSignal.any([signal, this.#soon.signal]));
    }
    this.#closeCounts();
  }

  async #checkOnce(): Promise<void> {
    const { clients, deadlineMs } = this.#parts;
    const { signal } = this.#stop;
    const outcome = await checkCluster({
      open: async () => (await clients.api(this.#cluster.id)).api,
      counts: (api) => {
        this.#counts ??= new ClusterCounts(api, this.#cluster.id, this.#parts.ctx.log);
        return this.#counts;
      },
      timeoutMs: deadlineMs,
      signal,
    });
    if (signal.aborted || outcome === null) return;
    this.#failures = outcome.kind === "FAILED" ? this.#failures + 1 : 0;
    await this.#report(outcome);
  }

  async #report(outcome: CheckOutcome): Promise<void> {
    const before = this.#cluster;
    const verdict = judge(outcome);
    const settled = isSettled(before.healthStatus, verdict, this.#failures);
    if (outcome.kind === "FAILED" && settled) this.#closeCounts();
    const { status: healthStatus, reason: healthReason, message: healthMessage } = verdict;
    const report: HealthReport = settled ? { healthStatus, healthReason, healthMessage } : {};
    if (outcome.kind === "REACHED") {
      const { version, nodes, pods } = outcome;
      Object.assign(report, {
        version,
        nodeCount: nodes instanceof Error ? null : nodes.count,
        podCount: pods instanceof Error ? null : pods,
      });
      this.#seen = { notReady: nodes instanceof Error ? 0 : nodes.notReady, interrupted: this.#counts?.interrupted ?? false };
    }
    const after = await this.#write(report, outcome.kind === "REACHED");
    if (after === null) return;
    if (after.healthStatus !== before.healthStatus) {
      const { id: kubernetesCluster, name } = after;
      this.#parts.ctx.log.info({ kubernetesCluster, name, healthReason }, `a Kubernetes cluster is ${after.healthStatus}`);
    }
    this.#parts.onChecked(before, after);
  }

  /** Between the checks: what the watches tell. A change that matters to the health asks for a check. */
  async #count(): Promise<void> {
    const { countsMs } = this.#parts;
    const { signal } = this.#stop;
    for (await this.#pause(countsMs, signal); !signal.aborted; await this.#pause(countsMs, signal)) {
      const counts = this.#counts;
      if (counts === null) continue;
      const { nodes, pods, interrupted } = counts;
      if ((interrupted && !this.#seen.interrupted) || (nodes !== null && nodes.notReady !== this.#seen.notReady)) this.checkSoon();
      this.#seen.interrupted = interrupted;
      const report: HealthReport = {};
      // What cannot be listed is told by the checks.
      if (nodes !== null && this.#cluster.nodeCount !== null) report.nodeCount = nodes.count;
      if (pods !== null && this.#cluster.podCount !== null) report.podCount = pods;
      if (differs(this.#cluster, report)) await this.#write(report, false);
    }
  }

  /** Null where the cluster is not what was looked at any more, or the database does not answer: the next check writes again. */
  async #write(report: HealthReport, connected: boolean): Promise<KubernetesClusterView | null> {
    const { ctx, writer } = this.#parts;
    const now = performance.now();
    const news = differs(this.#cluster, report);
    if (connected && (news || now - this.#connectedAt >= CONNECTED_MS)) report.connectedAt = new Date();
    if (!news && report.connectedAt === undefined) return this.#cluster;
    try {
      const after = await writer.record(this.#cluster, report);
      if (after === null) return null;
      this.#cluster = after;
      if (report.connectedAt !== undefined) this.#connectedAt = now;
      return after;
    } catch (error) {
      ctx.log.warn({ err: error, kubernetesCluster: this.#cluster.id }, "what a check found could not be stored; the next one stores it");
      return null;
    }
  }

  #closeCounts(): void {
    this.#counts?.close();
    this.#counts = null;
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    await sleep(Math.max(0, ms), undefined, { signal, ref: false }).catch(() => undefined);
  }
}

function isDown({ healthStatus }: KubernetesClusterView): boolean {
  return healthStatus === "ERROR" || healthStatus === "UNAVAILABLE";
}

function differs(cluster: KubernetesClusterView, report: HealthReport): boolean {
  const fields = ["healthStatus", "healthReason", "healthMessage", "version", "nodeCount", "podCount"] as const;
  return fields.some((field) => report[field] !== undefined && report[field] !== cluster[field]);
}
