import { describe, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { type CheckOutcome, isSettled, judge } from "../../../../subgraphs/clusters/services/kubernetes/health/health-decision.ts";
import { type ConnectionStep, KubernetesFailure } from "../../../../subgraphs/kit/kubernetes/types.ts";

const ready = { count: 3, notReady: 0, notReadyNames: [] };
const forbidden = new KubernetesFailure("FAILED_PRECONDITION", "REQUEST", "Forbidden", "The account may not list them.", { status: 403 });

function reached(rest: Partial<Extract<CheckOutcome, { kind: "REACHED" }>> = {}): CheckOutcome {
  return { kind: "REACHED", version: "v1.31.4", nodes: ready, pods: 5, ...rest };
}

function failed(step: ConnectionStep, reason: string, status?: number): CheckOutcome {
  return { kind: "FAILED", error: new KubernetesFailure("UNAVAILABLE", step, reason, "It failed.", { status }) };
}

describe("what a check says of a cluster's health", () => {
  test("healthy, without a reason, when all is well", () => {
    expect(judge(reached())).toEqual({ status: "HEALTHY", reason: null, message: null });
    expect(judge(reached({ nodes: { count: 0, notReady: 0, notReadyNames: [] } }))).toMatchObject({ status: "HEALTHY" });
  });

  test("nodes that are not ready are a warning that names some of them", () => {
    const nodes = { count: 5, notReady: 4, notReadyNames: ["a", "b", "c", "d"] };
    expect(judge(reached({ nodes }))).toEqual({
      status: "WARNING",
      reason: "NodesNotReady",
      message: "4 of 5 nodes are not ready: a, b, c, ….",
    });
    expect(judge(reached({ nodes: { count: 1, notReady: 1, notReadyNames: ["a"] } }))).toMatchObject({
      message: "1 of 1 node is not ready: a.",
    });
  });

  test("what cannot be listed is a warning", () => {
    expect(judge(reached({ pods: forbidden }))).toEqual({
      status: "WARNING",
      reason: "PodsNotListed",
      message: "Pods cannot be listed: The account may not list them.",
    });
    expect(judge(reached({ nodes: forbidden }))).toMatchObject({ status: "WARNING", reason: "NodesNotListed" });
  });

  test.each([
    ["a name that is not known", failed("DNS", "DnsFailed"), "UNAVAILABLE"],
    ["a closed port", failed("TCP", "ConnectionRefused"), "UNAVAILABLE"],
    ["a certificate that is not trusted", failed("TLS", "CertificateUntrusted"), "UNAVAILABLE"],
    ["an API server that says nothing", failed("VERSION", "RequestTimeout"), "UNAVAILABLE"],
    ["a connection that is lost in the middle", failed("REQUEST", "ConnectionLost"), "UNAVAILABLE"],
    ["a wrong token", failed("AUTHENTICATION", "Unauthorized", 401), "ERROR"],
    ["something else that answers", failed("VERSION", "NotKubernetes", 200), "ERROR"],
    ["an API server that fails", failed("VERSION", "ServerError", 500), "ERROR"],
  ])("%s", (_, outcome, status) => {
    expect(judge(outcome)).toMatchObject({ status, message: "It failed." });
  });

  test("a client that cannot be built makes it unavailable", () => {
    const error = new FleetError("FAILED_PRECONDITION", "The kubeconfig cannot be opened.", { reason: "SecretDamaged" });
    expect(judge({ kind: "FAILED", error })).toEqual({ status: "UNAVAILABLE", reason: "SecretDamaged", message: error.message });
  });

  test("a message that is too long is cut", () => {
    const error = new FleetError("UNAVAILABLE", "x".repeat(5_000));
    expect(judge({ kind: "FAILED", error }).message).toHaveLength(500);
  });

  test("one failure is a doubt, two are news; getting better is news at once", () => {
    const down = judge(failed("TCP", "ConnectionRefused"));
    expect(isSettled("HEALTHY", down, 1)).toBe(false);
    expect(isSettled("WARNING", down, 1)).toBe(false);
    expect(isSettled("HEALTHY", down, 2)).toBe(true);
    expect(isSettled("UNKNOWN", down, 1)).toBe(true);
    expect(isSettled("ERROR", down, 1)).toBe(true);
    expect(isSettled("UNAVAILABLE", judge(reached()), 0)).toBe(true);
    expect(isSettled("HEALTHY", judge(reached({ pods: forbidden })), 0)).toBe(true);
  });
});
