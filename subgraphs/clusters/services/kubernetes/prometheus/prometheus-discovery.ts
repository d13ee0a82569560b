import { randomUUID } from "node:crypto";
import { requireRole } from "../../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import { checkId } from "../../../../kit/input-checks.ts";
import { Semaphore } from "../../../../kit/semaphore.ts";
import type { ClusterClaims } from "../cluster-claims.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import { changedMeanwhile } from "../cluster-errors.ts";
import type { ClusterNews } from "../cluster-news.ts";
import type { KubernetesClusterView } from "../cluster-types.ts";
import type { KubernetesHealthWriter } from "../health-writer.ts";
import { withoutRun } from "../prometheus-state.ts";
import { DiscoveryRun } from "./discovery-run.ts";

export interface PrometheusDiscoveryParts {
  /** The control plane itself. */
  ctx: RequestContext;
  clients: ClusterClients;
  claims: ClusterClaims;
  news: ClusterNews;
  writer: KubernetesHealthWriter;
}

const DEADLINE_MS = 30_000;
const PROBE_MS = 2_000;
/** Longer than a run can take, so that it need not be renewed: where a process died, the cluster is free again after it. */
const CLAIM_MS = 45_000;
/** Runs that begin by themselves, at once. */
const AT_ONCE = 8;
/** All runs of this process. */
const MAX_RUNS = 64;

/** Looks for the Prometheus of clusters: when one becomes healthy, and on demand. One run at a time for each cluster, among all replicas. */
export class PrometheusDiscovery {
  readonly #parts: PrometheusDiscoveryParts;
  readonly #runs = new Map<string, DiscoveryRun>();
  readonly #ending = new Set<Promise<void>>();
  /** Clusters whose run waits for its turn. */
  readonly #waiting = new Set<string>();
  readonly #turns = new Semaphore(AT_ONCE);
  #forget: () => void = () => undefined;

  constructor(parts: PrometheusDiscoveryParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#forget = this.#parts.news.onChange((id, cluster) => this.#hear(id, cluster));
  }

  /** Cancels what is under way. After the signal of the context. */
  async stop(): Promise<void> {
    this.#forget();
    for (const run of this.#runs.values()) run.cancel("The server was stopped.");
    await Promise.all(this.#ending);
  }

  /**
   * Begins a run, whose progress is to be seen at the cluster. Rights: viewer. Throws NOT_FOUND, CONFLICT (DiscoveryRunning),
   * FAILED_PRECONDITION (PrometheusUrlSet, ClusterDisabled), RESOURCE_EXHAUSTED.
   */
  async rediscover(ctx: RequestContext, id: string): Promise<{ clusterId: string; taskStartedAt: string }> {
    requireRole(ctx.identity, "viewer");
    const { run } = await this.#begin(checkId("id", id));
    return { clusterId: id, taskStartedAt: run.startedAt };
  }

  /** Begins a run where a cluster that was just checked needs one, and ends one whose process died. */
  consider(before: KubernetesClusterView, after: KubernetesClusterView): void {
    const { id, prometheus, healthStatus } = after;
    const recovered = healthStatus === "HEALTHY" && before.healthStatus !== "HEALTHY";
    const reached = healthStatus === "HEALTHY" || healthStatus === "WARNING";
    // One that is under way elsewhere holds the claim.
    const open = prometheus.state === "PENDING" || prometheus.state === "SEARCHING";
    if (prometheus.state === "SEARCHING" && !reached) return this.#inTurn(id, () => this.#endDead(after));
    const wanted = open || (recovered && (prometheus.state === "FOUND" || prometheus.state === "NOT_FOUND"));
    if (reached && wanted) this.#inTurn(id, async () => (await this.#begin(id)).done);
  }

  /** A few at a time, and one for each cluster; more are dropped: the next check considers it again. */
  #inTurn(id: string, work: () => Promise<void>): void {
    const { signal } = this.#parts.ctx;
    if (this.#waiting.has(id) || this.#runs.has(id) || signal.aborted) return;
    this.#waiting.add(id);
    const running = this.#turns
      .run(work, signal)
      .catch((error: unknown) => this.#tell(id, error))
      .finally(() => {
        this.#waiting.delete(id);
        this.#ending.delete(running);
      });
    this.#ending.add(running);
  }

  async #endDead(cluster: KubernetesClusterView): Promise<void> {
    const { claims, writer } = this.#parts;
    const { url, lastRun, candidates } = cluster.prometheus;
    if (await claims.isDiscoveryClaimed(cluster.id)) return;
    const ended = withoutRun({ url, state: "SEARCHING", lastRun, candidates }, "The server that did it has gone.", true);
    if (ended) await writer.recordPrometheus(cluster, ended, lastRun?.startedAt);
  }

  /** `done` never rejects. */
  async #begin(id: string): Promise<{ run: DiscoveryRun; done: Promise<void> }> {
    const { ctx, clients, claims, writer } = this.#parts;
    const client = await clients.api(id);
    if (client.cluster.prometheus.state === "CONFIGURED") throw urlSet(id);
    if (this.#runs.size >= MAX_RUNS) throw tooManyRuns();
    const by = randomUUID();
    if (!(await claims.claimDiscovery(id, by, CLAIM_MS))) throw alreadyRunning(id);
    const release = () => claims.releaseDiscovery(id, by);
    try {
      const run = new DiscoveryRun({ ctx, client, writer, deadlineMs: DEADLINE_MS, probeMs: PROBE_MS });
      if ((await run.begin()) === null) throw await this.#changedError(id);
      const done = this.#follow(run, release);
      return { run, done };
    } catch (error) {
      await release();
      throw error;
    }
  }

  #follow(run: DiscoveryRun, release: () => Promise<void>): Promise<void> {
    const id = run.clusterId;
    this.#runs.set(id, run);
    if (this.#parts.ctx.signal.aborted) run.cancel("The server was stopped.");
    const done = this.#finish(run, release).finally(() => this.#ending.delete(done));
    this.#ending.add(done);
    return done;
  }

  async #finish(run: DiscoveryRun, release: () => Promise<void>): Promise<void> {
    const id = run.clusterId;
    try {
      await run.run();
    } catch (error) {
      this.#tell(id, error);
    }
    if (this.#runs.get(id) === run) this.#runs.delete(id);
    // One that is not given up ends by itself.
    await release().catch((error: unknown) => this.#tell(id, error));
  }

  #hear(id: string, cluster: KubernetesClusterView | null): void {
    const run = this.#runs.get(id);
    if (run === undefined) return;
    if (cluster === null) run.cancel("The cluster was deleted.");
    else if (cluster.revision > run.revision) run.cancel("The access to the cluster was changed.");
    else if (cluster.prometheus.state === "CONFIGURED") run.cancel("A URL was set by hand.");
  }

  /** Why a run could not begin: the cluster is not what it was a moment ago. */
  async #changedError(id: string): Promise<unknown> {
    try {
      const { cluster } = await this.#parts.clients.api(id);
      return cluster.prometheus.state === "CONFIGURED" ? urlSet(id) : changedMeanwhile(id);
    } catch (error) {
      return error;
    }
  }

  #tell(id: string, error: unknown): void {
    const { code, reason } = FleetError.from(error);
    if (this.#parts.ctx.signal.aborted || reason === "DiscoveryRunning") return;
    this.#parts.ctx.log.warn({ err: error, code, kubernetesCluster: id }, "Prometheus could not be looked for");
  }
}

function alreadyRunning(id: string): FleetError {
  return new FleetError("CONFLICT", "This cluster's Prometheus is being looked for: its field prometheus tells what comes of it.", {
    reason: "DiscoveryRunning",
    details: { id },
  });
}

function urlSet(id: string): FleetError {
  return new FleetError(
    "FAILED_PRECONDITION",
    "This cluster's Prometheus URL was set by hand: clear it (updateKubernetesCluster, prometheusUrl: null) to have it looked for.",
    { reason: "PrometheusUrlSet", details: { id } },
  );
}

function tooManyRuns(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `Prometheus is being looked for in ${MAX_RUNS} clusters: try again in half a minute.`, {
    reason: "TooManyDiscoveries",
  });
}
