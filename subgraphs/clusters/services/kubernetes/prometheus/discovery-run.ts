import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { ClusterClient } from "../cluster-clients.ts";
import type { DiscoveryOutcome, FoundPrometheus, KubernetesClusterView, PrometheusCandidate } from "../cluster-types.ts";
import type { KubernetesHealthWriter } from "../health-writer.ts";
import { DiscoverySearch } from "./discovery-search.ts";
import { isLoopbackServer } from "./probe-address.ts";
import { PrometheusProbe } from "./prometheus-probe.ts";

export interface DiscoveryRunParts {
  ctx: RequestContext;
  client: ClusterClient;
  writer: Pick<KubernetesHealthWriter, "recordPrometheus">;
  /** In milliseconds: of the whole run, and of one question. */
  deadlineMs: number;
  probeMs: number;
}

/** One search for a cluster's Prometheus. What it finds is written as long as it is the cluster's run. */
export class DiscoveryRun {
  readonly startedAt = new Date().toISOString();
  readonly #parts: DiscoveryRunParts;
  readonly #before: FoundPrometheus;
  readonly #cancel = new AbortController();

  constructor(parts: DiscoveryRunParts) {
    this.#parts = parts;
    const { url, state, lastRun, candidates } = parts.client.cluster.prometheus;
    this.#before = { url, state: state === "FOUND" || state === "NOT_FOUND" ? state : "PENDING", lastRun, candidates };
  }

  get clusterId(): string {
    return this.#parts.client.cluster.id;
  }

  /** Of the cluster's access. */
  get revision(): number {
    return this.#parts.client.cluster.revision;
  }

  /** Shows that it has begun. The cluster afterwards; null where it is gone, disabled, or reached in another way by now. */
  begin(): Promise<KubernetesClusterView | null> {
    const { client, writer } = this.#parts;
    return writer.recordPrometheus(client.cluster, this.#running([]));
  }

  /** Ends it soon. `message`: why, for people. */
  cancel(message: string): void {
    this.#cancel.abort(new FleetError("CANCELLED", message, { reason: "DiscoveryCancelled" }));
  }

  /** Searches, and writes what was found. Throws only where that could not be written. */
  async run(): Promise<void> {
    const { client, ctx, deadlineMs, probeMs } = this.#parts;
    const deadline = AbortSignal.timeout(deadlineMs);
    const signal = AbortSignal.any([this.#cancel.signal, deadline]);
    const { context, contexts } = client.cluster;
    const server = contexts.find(({ name }) => name === context)?.server ?? null;
    const probe = new PrometheusProbe({
      api: client.api,
      timeoutMs: probeMs,
      rules: { loopback: server !== null && isLoopbackServer(server) },
    });
    const search = new DiscoverySearch({ api: client.api, probe, signal, onTried: (candidates) => this.#write(this.#running(candidates)) });
    try {
      const { url, candidates, gap } = await search.run();
      await this.#write(this.#ended(url === null ? "NOT_FOUND" : "FOUND", told(url, candidates, gap), { url, candidates }));
    } catch (error) {
      const { candidates } = search;
      if (this.#cancel.signal.aborted)
        return await this.#write(this.#ended("CANCELLED", FleetError.from(this.#cancel.signal.reason).message));
      const { code, reason, message } = FleetError.from(error);
      if (code === "INTERNAL") ctx.log.error({ err: error, kubernetesCluster: this.clusterId }, "looking for Prometheus has failed");
      else ctx.log.debug({ code, reason, kubernetesCluster: this.clusterId }, "looking for Prometheus has failed");
      await this.#write(
        this.#ended("FAILED", deadline.aborted ? `It was not over within ${deadlineMs / 1000} s.` : message, { candidates }),
      );
    }
  }

  async #write(prometheus: FoundPrometheus): Promise<void> {
    const { client, writer } = this.#parts;
    await writer.recordPrometheus(client.cluster, prometheus, this.startedAt);
  }

  #running(candidates: PrometheusCandidate[]): FoundPrometheus {
    const lastRun = { startedAt: this.startedAt, finishedAt: null, outcome: null, message: null };
    return { url: this.#before.url, state: "SEARCHING", lastRun, candidates: [...candidates] };
  }

  /** What was found before holds where this run did not get to an end. */
  #ended(
    outcome: DiscoveryOutcome,
    message: string,
    found: { url?: string | null; candidates?: PrometheusCandidate[] } = {},
  ): FoundPrometheus {
    const { url = this.#before.url, candidates = this.#before.candidates } = found;
    const lastRun = { startedAt: this.startedAt, finishedAt: new Date().toISOString(), outcome, message };
    const isWhole = outcome !== "CANCELLED" || this.#before.state !== "PENDING";
    const state = url === null ? "NOT_FOUND" : "FOUND";
    return { url, state: isWhole ? state : "PENDING", lastRun, candidates };
  }
}

function told(url: string | null, candidates: PrometheusCandidate[], gap: string | null): string {
  const tried = candidates.length === 1 ? "1 place was" : `${candidates.length} places were`;
  const found = url === null ? `No Prometheus answered; ${tried} asked.` : `Prometheus answered; ${tried} asked.`;
  return gap === null ? found : `${found} ${gap}`;
}
