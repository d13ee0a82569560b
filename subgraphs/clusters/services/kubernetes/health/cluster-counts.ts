import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../../platform/observability/log.ts";
import { openReflector, type Reflector } from "../../../../kit/kubernetes/reflector/reflector.ts";
import { type KubernetesApi, KubernetesFailure, type KubernetesObject, NODES, PODS } from "../../../../kit/kubernetes/types.ts";
import type { NodeReadiness } from "./health-decision.ts";

interface NodeObject extends KubernetesObject {
  status?: { conditions?: Array<{ type: string; status: string }> };
}

interface NodeState {
  name: string;
  ready: boolean;
}

const EVERYTHING = { namespace: null, labelSelector: null, fieldSelector: null };
/** Nobody subscribes: no changes are kept for anybody. */
const LIMITS = { maxChanges: 1 };
const NAMES = 10;
const LOOK_MS = 50;
const REFUSALS: readonly number[] = [401, 403, 404, 405];

/** Watches one cluster's nodes (of which only name and readiness are kept) and pods (only that they are there). To be closed. */
export class ClusterCounts {
  readonly #nodes: Reflector<NodeState>;
  readonly #pods: Reflector<true>;
  #readiness: NodeReadiness | null = null;

  constructor(api: KubernetesApi, clusterId: string, log: Logger) {
    const common = { api, filter: EVERYTHING, persistent: true, log, limits: LIMITS };
    const identity = (what: string) => ({ stream: `count ${what} ${clusterId}`, epoch: "" });
    this.#nodes = openReflector<NodeObject, NodeState>({
      ...{ ...common, kind: NODES, identity: identity("nodes") },
      project: ({ metadata, status }) => ({ name: metadata.name, ready: isReady(status?.conditions) }),
    });
    this.#pods = openReflector<KubernetesObject, true>({
      ...{ ...common, kind: PODS, identity: identity("pods") },
      metadataOnly: true,
      project: () => true,
    });
    this.#nodes.onChange(() => {
      this.#readiness = null;
    });
  }

  /** Null while they have not been listed. */
  get nodes(): NodeReadiness | null {
    if (!this.#nodes.ready) return null;
    this.#readiness ??= readinessOf(this.#nodes.objects());
    return this.#readiness;
  }

  /** Null while they have not been listed. */
  get pods(): number | null {
    return this.#pods.ready ? this.#pods.size : null;
  }

  /** Whether a watch is lost at present. */
  get interrupted(): boolean {
    return this.#nodes.failure !== null || this.#pods.failure !== null;
  }

  /** The nodes, or why they cannot be listed; waits for the first list until the signal. */
  untilNodes(signal: AbortSignal): Promise<NodeReadiness | FleetError> {
    return settled(this.#nodes, () => this.nodes, signal);
  }

  /** As `untilNodes`, of how many pods there are. */
  untilPods(signal: AbortSignal): Promise<number | FleetError> {
    return settled(this.#pods, () => this.pods, signal);
  }

  close(): void {
    this.#nodes.end(null);
    this.#pods.end(null);
  }
}

/** A refusal counts also where there was an answer before: an account can lose rights. A lost connection is told of by other calls. */
async function settled<T>(
  reflector: { readonly failure: FleetError | null },
  read: () => T | null,
  signal: AbortSignal,
): Promise<T | FleetError> {
  for (;;) {
    const { failure } = reflector;
    if (failure !== null && isRefusal(failure)) return failure;
    const known = read();
    if (known !== null) return known;
    if (signal.aborted)
      return failure ?? new FleetError("DEADLINE_EXCEEDED", "They were not listed in time.", { reason: "RequestTimeout" });
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Of a cluster that answers, or of a watch that has ended for good. */
function isRefusal(failure: FleetError): boolean {
  return !(failure instanceof KubernetesFailure) || REFUSALS.includes(failure.status ?? 0);
}

function readinessOf(nodes: Iterable<NodeState>): NodeReadiness {
  const readiness: NodeReadiness = { count: 0, notReady: 0, notReadyNames: [] };
  for (const { name, ready } of nodes) {
    readiness.count += 1;
    if (ready) continue;
    readiness.notReady += 1;
    readiness.notReadyNames.push(name);
  }
  readiness.notReadyNames = readiness.notReadyNames.sort().slice(0, NAMES);
  return readiness;
}

function isReady(conditions: Array<{ type: string; status: string }> | undefined): boolean {
  return conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}
