import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { DesiredState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ApplyInstanceRequest, type SampleInstancesRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { INSTANCE_ID } from "../instances/instance-store.ts";

const MAX_NAME = 253;
const MAX_NATIVE_ID = 128;
const MAX_STOP_SECONDS = 86_400;
const MAX_SAMPLED = 1000;
/** More than any spec that the control plane takes. */
const MAX_BYTES = 1024 * 1024;

const DESIRED: ReadonlySet<DesiredState> = new Set([
  DesiredState.RUNNING,
  DesiredState.STOPPED,
  DesiredState.SUSPENDED,
  DesiredState.DELETED,
]);
const TYPES: ReadonlySet<InstanceType> = new Set([InstanceType.VM, InstanceType.CONTAINER, InstanceType.MICROVM]);

/** What any agent can tell about a message. What its host cannot do becomes the instance's ERROR. Throws INVALID_ARGUMENT. */
export function checkApply(request: ApplyInstanceRequest): void {
  checkInstanceId("instance_id", request.instanceId);
  checkNumber("generation", request.generation, 1, Number.MAX_SAFE_INTEGER);
  checkNumber("revision", request.revision, 0, Number.MAX_SAFE_INTEGER);
  checkNumber("restarts", request.restarts, 0, Number.MAX_SAFE_INTEGER);
  checkNumber("stop_timeout_seconds", request.stopTimeoutSeconds, 0, MAX_STOP_SECONDS);
  checkLength("name", request.name, MAX_NAME);
  checkLength("adopt_native_id", request.adoptNativeId, MAX_NATIVE_ID);
  if (!DESIRED.has(request.desiredState)) throw invalidArgument("desired_state", "It is not said what the instance is to be.");
  if (ApplyInstanceRequest.encode(request).finish().length > MAX_BYTES)
    throw invalidArgument("spec", `An instance is described in at most ${MAX_BYTES} bytes.`);
  // A removal needs no more than the id.
  if (request.desiredState === DesiredState.DELETED) return;
  if (!TYPES.has(request.type)) throw invalidArgument("type", "It is not said what the instance is, or this agent is too old for it.");
  if (request.spec === undefined) throw invalidArgument("spec", "It is not said what the instance consists of.");
}

/** Throws INVALID_ARGUMENT. */
export function checkSample({ instanceIds }: SampleInstancesRequest): void {
  if (instanceIds.length > MAX_SAMPLED) throw invalidArgument("instance_ids", `At most ${MAX_SAMPLED} instances are sampled at once.`);
  for (const [index, id] of instanceIds.entries()) checkInstanceId(`instance_ids[${index}]`, id);
}

/** Throws INVALID_ARGUMENT. */
export function checkInstanceId(field: string, id: string): void {
  if (!INSTANCE_ID.test(id)) throw invalidArgument(field, "An instance's id is inst- and letters and digits.");
}

function checkNumber(field: string, value: number, min: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) throw invalidArgument(field, `It is a number from ${min} to ${max}.`);
}

function checkLength(field: string, value: string, max: number): void {
  if (value.length > max) throw invalidArgument(field, `It has at most ${max} characters.`);
}
