import { describe, expect, test } from "vitest";
import { NodeStatus } from "../../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { type AssignmentFacts, decideAssignment } from "../../../../../subgraphs/nodes/services/hosts/assignment-decision.ts";

const { READY, UNKNOWN, NOT_READY, PENDING } = NodeStatus;

/** A host that is well: reported by its agent, which is there. */
const WELL: AssignmentFacts = {
  host: { uri: "qemu+ssh://root@h/system", agentId: "a", assignedAt: 0 },
  node: { status: READY, leaseExpired: false, agentId: "a" },
  hasStream: true,
  agentNode: { status: READY, agentId: "a" },
  now: 100_000,
  settleMs: 30_000,
};
const LOST = { status: UNKNOWN, leaseExpired: true, agentId: "a" };

describe("which host is given to another agent", () => {
  test.each<[what: string, facts: Partial<AssignmentFacts>, decision: string]>([
    ["one that is well", {}, "keep"],
    ["one whose host is not reached: its agent says so", { node: { status: NOT_READY, leaseExpired: false, agentId: "a" } }, "keep"],
    ["one whose agent does not follow its list, and reports it all the same", { hasStream: false, agentNode: undefined }, "keep"],
    ["one whose lease is over while its agent is there", { node: LOST }, "keep"],
    ["one whose lease is over and whose agent follows no list", { node: LOST, hasStream: false, agentNode: undefined }, "give"],
    [
      "one whose lease is over and whose agent's machine is not heard of",
      { node: LOST, agentNode: { status: UNKNOWN, agentId: "a" } },
      "give",
    ],
    ["one whose lease is over and whose agent's machine left the fleet", { node: LOST, agentNode: undefined }, "give"],
    [
      "one whose lease is over and whose agent's machine is only not ready",
      { node: LOST, agentNode: { status: NOT_READY, agentId: "a" } },
      "keep",
    ],
    [
      "one that was never reported, by an agent that is gone",
      { node: { ...LOST, status: PENDING, leaseExpired: false }, hasStream: false },
      "give",
    ],
    ["one that was given a moment ago", { node: LOST, hasStream: false, now: 29_000 }, "keep"],
    ["one that is not in service", { node: undefined, hasStream: false }, "keep"],
    ["one that ClusterService knows as another agent's", { node: { ...LOST, agentId: "b" } }, "repair"],
    [
      "a socket, which no other agent has",
      { host: { ...WELL.host, uri: "qemu+unix:///system?socket=/s" }, node: LOST, hasStream: false },
      "keep",
    ],
  ])("%s", (_what, facts, decision) => {
    expect(decideAssignment({ ...WELL, ...facts })).toBe(decision);
  });
});
