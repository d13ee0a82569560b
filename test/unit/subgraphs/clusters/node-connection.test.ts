import { describe, expect, test } from "vitest";
import { nodeConnection } from "../../../../subgraphs/clusters/services/node-connection.ts";
import type { Condition, NodeView } from "../../../../subgraphs/clusters/services/node-types.ts";

const SEEN = "2026-11-21T10:00:00.000Z";
const LOST = "2026-11-21T09:59:00.000Z";

function node(fields: Partial<NodeView>): NodeView {
  return { bridged: false, agentId: "a", lease: "running", lastSeen: SEEN, conditions: [], ...fields } as NodeView;
}

function condition(type: string, status: Condition["status"], message: string): Condition {
  return { type, status, reason: "R", message, lastTransitionTime: LOST };
}

describe("how a node is connected", () => {
  test("by its own agent, or by one that stands for it", () => {
    expect(nodeConnection(node({}))).toEqual({ state: "CONNECTED", lastContactAt: SEEN, lastError: null, bridged: false });
    const reached = node({ bridged: true, conditions: [condition("HostReachable", "True", "")] });
    expect(nodeConnection(reached)).toEqual({ state: "CONNECTED", lastContactAt: SEEN, lastError: null, bridged: true });
  });

  test("a host that is not reached is told apart from an agent that is lost", () => {
    const conditions = [condition("Ready", "False", "not ready"), condition("HostReachable", "False", "Connection refused.")];
    const unreachable = node({ bridged: true, conditions });
    expect(nodeConnection(unreachable)).toMatchObject({ state: "HOST_UNREACHABLE", lastContactAt: LOST, lastError: "Connection refused." });
    const lost = node({ lease: "expired", conditions: [condition("Ready", "Unknown", "No heartbeat for 30 s.")] });
    expect(nodeConnection(lost)).toMatchObject({ state: "AGENT_LOST", lastContactAt: SEEN, lastError: "No heartbeat for 30 s." });
  });

  test("one that was never heard of, and one that no agent reports", () => {
    expect(nodeConnection(node({ lease: "none", lastSeen: null }))).toMatchObject({ state: "NEVER_CONNECTED", lastContactAt: null });
    expect(nodeConnection(node({ lease: "none", lastSeen: null, agentId: null }))).toMatchObject({ state: "NO_AGENT" });
  });
});
