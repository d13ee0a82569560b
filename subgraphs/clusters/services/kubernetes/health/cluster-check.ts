import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { KubernetesApi } from "../../../../kit/kubernetes/types.ts";
import type { ClusterCounts } from "./cluster-counts.ts";
import type { CheckOutcome } from "./health-decision.ts";

export interface CheckParts {
  /** The cluster's client. */
  open(): Promise<KubernetesApi>;
  /** Its counts; only asked for where it answers. */
  counts(api: KubernetesApi): Pick<ClusterCounts, "untilNodes" | "untilPods">;
  /** Of the whole check, in milliseconds. */
  timeoutMs: number;
  signal: AbortSignal;
}

/** Of our own: they say nothing about the cluster. */
const OURS: readonly string[] = ["INTERNAL", "NOT_FOUND", "CANCELLED", "DEADLINE_EXCEEDED"];

/** Looks at a cluster once: its version, then its nodes and pods. Null where it could not be looked at, for reasons of ours. Never throws. */
export async function checkCluster({ open, counts: openCounts, timeoutMs, signal }: CheckParts): Promise<CheckOutcome | null> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  const api = await open().catch(FleetError.from);
  if (api instanceof FleetError) return isOurs(api) ? null : { kind: "FAILED", error: api };
  try {
    const { gitVersion } = await api.version({ signal, timeoutMs });
    const counts = openCounts(api);
    const [nodes, pods] = await Promise.all([counts.untilNodes(deadline), counts.untilPods(deadline)]);
    return { kind: "REACHED", version: gitVersion, nodes, pods };
  } catch (thrown) {
    const error = FleetError.from(thrown);
    // Its client was closed since its access changed: the next one tells.
    return error.reason === "Closed" ? null : { kind: "FAILED", error };
  }
}

function isOurs({ code, reason }: FleetError): boolean {
  return OURS.includes(code) || reason === "ClusterDisabled";
}
