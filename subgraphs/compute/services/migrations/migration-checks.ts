import type { Resources } from "../../../../schema/generated/proto/hypervisor/v1/common.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import type { Instance } from "../../entities/instance.ts";
import { placementNode } from "../fleet-view.ts";
import { refusalOf } from "../placement-refusal.ts";
import type { PlacementRequest } from "../placement-types.ts";
import { NODE_GONE } from "../state-machine.ts";
import type { MigrationCheck } from "./migration-types.ts";

/** What the control plane knows for and against a migration by itself. Pure; the agents are asked for the rest. */

/** Of the instance, wherever it goes. */
export function instanceChecks(instance: Instance): MigrationCheck[] {
  const { managed, type, state, desiredState, stateReason, revision, appliedRevision } = instance;
  const isRunning = state === "RUNNING" && desiredState === "RUNNING" && stateReason !== NODE_GONE;
  return [
    check("Managed", managed, "It was found on its host, and is not the fleet's: adopt it first."),
    check("Kind", type !== "CONTAINER", "A container is not moved while it runs: make another one elsewhere."),
    check("State", isRunning, `It has to run, and to be meant to: it is ${state}${desiredState ? `, to be ${desiredState}` : ""}.`),
    check("Settled", appliedRevision >= revision, "It is being changed: try again when its agent has that."),
  ];
}

export function sourceChecks(source: NodeRecord | undefined): MigrationCheck[] {
  return [check("SourceAgent", isReachable(source), "The agent of the instance's node is not heard of.")];
}

export interface TargetFacts {
  record: NodeRecord | undefined;
  reserved: Resources | undefined;
  /** Something of an earlier placement of the instance is still there. */
  hasLeftovers: boolean;
}

/** Of a node that the instance may go to. */
export function targetChecks(instance: Instance, { record, reserved, hasLeftovers }: TargetFacts): MigrationCheck[] {
  if (record === undefined) return [check("TargetNode", false, "There is no such node.")];
  const { nodeId, simulated, worker, maintenance, supportedInstanceTypes } = record;
  const type = instance.type.toLowerCase();
  const isOther = nodeId !== instance.nodeId;
  const room = roomProblem(instance, record, reserved);
  return [
    check("TargetNode", isOther, "It is on this node already."),
    check("TargetRole", worker && !simulated, "The node takes no instances: its role is not WORKER, or there is no real host behind it."),
    check("TargetAgent", isReachable(record), "The node's agent is silent, or says that its host is not well."),
    check("Maintenance", !maintenance, "The node is in maintenance."),
    check("InstanceType", supportedInstanceTypes.includes(type), `The node does not run ${type}; its instanceTypes say what is missing.`),
    check("Room", room === null, room ?? ""),
    check("Leftovers", !hasLeftovers, "Something of an earlier placement is still being removed there: try again shortly."),
  ];
}

/** What an instance asks of a node that it may be moved to. */
export function moveRequest(instance: Instance, strategy: PlacementRequest["strategy"]): PlacementRequest {
  const { cpuCores, memoryBytes, diskBytes, gpuCount } = instance;
  const amount = { cpuCores, memoryBytes, diskBytes, gpuCount };
  return {
    ...amount,
    type: instance.type.toLowerCase(),
    preferredNodeId: null,
    region: "",
    zone: "",
    nodeLabels: [],
    avoid: new Set(),
    strategy,
  };
}

/** Null: there is room. */
function roomProblem(instance: Instance, record: NodeRecord, reserved: Resources | undefined): string | null {
  const request = moveRequest(instance, "spread");
  // All but the room has checks of its own.
  const others = { simulated: false, worker: true, maintenance: false, ready: true, supportedTypes: [request.type] };
  const node = { ...placementNode(record, reserved), ...others };
  return refusalOf(request, node)?.message(request, node) ?? null;
}

export function isReachable(record: NodeRecord | undefined): record is NodeRecord {
  return record !== undefined && placementNode(record).ready && record.agentId !== null && record.address !== null;
}

export function check(name: string, passed: boolean, otherwise: string): MigrationCheck {
  return { name, passed, message: passed ? "" : otherwise };
}
