import type { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { KubernetesFailure } from "../../../../kit/kubernetes/types.ts";

/** What a check came to. */
export type CheckOutcome =
  /** The API answered for its version. */
  | { kind: "REACHED"; version: string; nodes: NodeReadiness | FleetError; pods: number | FleetError }
  | { kind: "FAILED"; error: FleetError };

export interface NodeReadiness {
  count: number;
  /** How many are not ready, and the names of some of them. */
  notReady: number;
  notReadyNames: string[];
}

export interface HealthVerdict {
  status: "HEALTHY" | "WARNING" | "ERROR" | "UNAVAILABLE";
  /** One word in CamelCase; null while healthy. */
  reason: string | null;
  /** A sentence; null while healthy. */
  message: string | null;
}

/** Reasons of failures where nothing of the cluster answered. */
const NO_ANSWER: readonly string[] = ["RequestTimeout", "ConnectionLost", "ConnectTimeout", "ConnectionRefused", "HostUnreachable"];
const UNREACHED_STEPS: readonly string[] = ["DNS", "TCP", "TLS"];
const MAX_MESSAGE = 500;
const MAX_NAMES = 3;

/**
 * UNAVAILABLE: there is no client for it, or nothing answered. ERROR: something answered, but not with its version. WARNING: nodes are not
 * ready, or nodes or pods cannot be listed. Else HEALTHY.
 */
export function judge(outcome: CheckOutcome): HealthVerdict {
  if (outcome.kind === "FAILED") return { status: statusOf(outcome.error), ...told(outcome.error) };
  const { nodes, pods } = outcome;
  if (nodes instanceof Error)
    return { status: "WARNING", reason: "NodesNotListed", message: cut(`Nodes cannot be listed: ${nodes.message}`) };
  if (nodes.notReady > 0) return { status: "WARNING", reason: "NodesNotReady", message: notReadyMessage(nodes) };
  if (pods instanceof Error) return { status: "WARNING", reason: "PodsNotListed", message: cut(`Pods cannot be listed: ${pods.message}`) };
  return { status: "HEALTHY", reason: null, message: null };
}

/**
 * Whether a verdict counts yet. One failed check of a cluster that was reached before is only a doubt: the second in a row tells. Everything
 * else counts at once. `failures`: failed checks in a row, this one included.
 */
export function isSettled(before: string, verdict: HealthVerdict, failures: number): boolean {
  const failed = verdict.status === "ERROR" || verdict.status === "UNAVAILABLE";
  return !failed || failures > 1 || (before !== "HEALTHY" && before !== "WARNING");
}

function statusOf(error: FleetError): "ERROR" | "UNAVAILABLE" {
  if (!(error instanceof KubernetesFailure)) return "UNAVAILABLE";
  const unreached = error.status === null && (UNREACHED_STEPS.includes(error.step) || NO_ANSWER.includes(error.reason ?? ""));
  return unreached ? "UNAVAILABLE" : "ERROR";
}

function told({ reason, code, message }: FleetError): { reason: string; message: string } {
  return { reason: reason ?? code, message: cut(message) };
}

function notReadyMessage({ count, notReady, notReadyNames }: NodeReadiness): string {
  const names = notReadyNames.slice(0, MAX_NAMES);
  const more = notReady > names.length ? ", …" : "";
  return cut(`${notReady} of ${count} ${count === 1 ? "node is" : "nodes are"} not ready: ${names.join(", ")}${more}.`);
}

function cut(text: string): string {
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1).toWellFormed()}…`;
}
