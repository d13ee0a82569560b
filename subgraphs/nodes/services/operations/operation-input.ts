import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { checkId, checkInteger, checkName, checkOneOf } from "../../../kit/input-checks.ts";
import { INSTANCE_POLICIES, type InstancePolicy } from "./operation-types.ts";

/** What the faces hand over; values are not checked. */
export interface RawDisable {
  nodeId: string;
  reason?: string | null;
  /** Null: they are left alone. */
  instances?: string | null;
  maxParallel?: number | null;
  clientRequestId?: string | null;
}

export interface RawPower {
  nodeId: string;
  hostname: string;
  reason?: string | null;
  instances?: string | null;
  maxParallel?: number | null;
  deadlineSeconds?: number | null;
  clientRequestId?: string | null;
}

export interface RawEnable {
  nodeId: string;
  startInstances?: boolean | null;
}

export interface CheckedOperation {
  nodeId: string;
  reason: string | null;
  instances: InstancePolicy;
  maxParallel: number;
  deadlineMs: number;
  clientRequestId: string | null;
}

const MAX_REASON = 500;
const PARALLEL = { default: 2, max: 16 };
const DEADLINE_SECONDS = { default: 600, min: 30, max: 86_400 };

/** Without `instances`: REFUSE. Throws INVALID_ARGUMENT that names the field. */
export function checkOperation(raw: Omit<RawPower, "hostname">): CheckedOperation {
  const { maxParallel, deadlineSeconds } = raw;
  const { default: usual, min, max } = DEADLINE_SECONDS;
  return {
    nodeId: checkId("nodeId", raw.nodeId),
    reason: checkName("reason", raw.reason?.trim(), MAX_REASON),
    instances: raw.instances ? checkOneOf("instances", raw.instances, INSTANCE_POLICIES) : "REFUSE",
    maxParallel: maxParallel == null ? PARALLEL.default : checkInteger("maxParallel", maxParallel, 1, PARALLEL.max),
    deadlineMs: (deadlineSeconds == null ? usual : checkInteger("deadlineSeconds", deadlineSeconds, min, max)) * 1000,
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
  };
}

/** What cannot be taken back wants the host named. Throws INVALID_ARGUMENT (reason ConfirmationMismatch). */
export function checkConfirmation(typed: string, hostname: string): void {
  if (typed.trim().toLowerCase() === hostname.toLowerCase()) return;
  throw new FleetError("INVALID_ARGUMENT", `The node's hostname is typed to confirm: this one's is ${hostname}.`, {
    reason: "ConfirmationMismatch",
    details: { field: "hostname" },
  });
}
