import { isIP } from "node:net";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type {
  InstanceObservation,
  InstanceTypeSupport,
  ReportInstancesRequest,
} from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { checkId, checkInteger, checkListLength } from "../../kit/input-checks.ts";
import { INSTANCE_STATES, INSTANCE_TYPES, type InstanceState, type InstanceType } from "./instance-types.ts";
import type { FoundInstance } from "./new-instance.ts";
import type { Observation } from "./observation.ts";

/** Whether a host can run instances of a type, as its agent tells it. */
export type TypeSupport = {
  type: InstanceType;
  supported: boolean;
  /** Null where it is. */
  reason: string | null;
  message: string | null;
  engine: string | null;
};

/** What an agent says of one instance: of ours by its id, of others by what the host calls them. */
export interface Seen {
  /** Null: it bears no mark of ours. */
  instanceId: string | null;
  observation: Observation;
  /** What one that is not ours is; null where the agent does not say enough. */
  found: FoundInstance | null;
}

export interface Report {
  nodeId: string;
  session: number;
  sequence: number;
  full: boolean;
  seen: Seen[];
  typeSupport: TypeSupport[];
}

const MAX_OBSERVATIONS = 5_000;
const MAX_ADDRESSES = 64;
const MAX_MESSAGE = 2_048;
const MAX_WORD = 64;
const MAX_CORES = 2 ** 31 - 1;

/** Field names are those of the message. What an agent says about one instance is cut to what can be stored rather than refused. */
export function checkReport(raw: ReportInstancesRequest): Report {
  checkListLength("observations", raw.observations, MAX_OBSERVATIONS);
  checkListLength("type_support", raw.typeSupport, 32);
  return {
    nodeId: checkId("node_id", raw.nodeId),
    session: checkInteger("session", raw.session, 1, Number.MAX_SAFE_INTEGER),
    sequence: checkInteger("sequence", raw.sequence, 1, Number.MAX_SAFE_INTEGER),
    full: raw.full,
    seen: raw.observations.map(seenOf),
    typeSupport: raw.typeSupport.flatMap(supportOf),
  };
}

function seenOf(raw: InstanceObservation, index: number): Seen {
  const instanceId = raw.instanceId === "" ? null : checkId(`observations[${index}].instance_id`, raw.instanceId);
  const nativeId = cut(raw.nativeId, 128);
  if (instanceId === null && nativeId === null) throw invalidArgument(`observations[${index}].native_id`, "One of both ids is needed.");
  const state = nameOf<InstanceState>(raw.state, "INSTANCE_STATE_", INSTANCE_STATES);
  const observation: Observation = {
    generation: wholeNumber(raw.generation),
    revision: wholeNumber(raw.revision),
    settled: raw.settled,
    state,
    stateReason: cut(raw.stateReason, MAX_WORD),
    message: cut(raw.message, MAX_MESSAGE),
    activity: cut(raw.activity, MAX_MESSAGE),
    ipAddresses: raw.ipAddresses.filter((address) => isIP(address) !== 0).slice(0, MAX_ADDRESSES),
    startedAt: validDate(raw.startedAt),
    exitCode: raw.exitCode ?? null,
    made: raw.made,
    nativeId,
  };
  const type = nameOf<InstanceType>(raw.type, "INSTANCE_TYPE_", INSTANCE_TYPES);
  if (nativeId === null || type === null || state === null) return { instanceId, observation, found: null };
  const cpuCores = Math.min(wholeNumber(raw.cpuCores), MAX_CORES);
  const found = { name: cut(raw.name, 253) ?? nativeId, type, state, nativeId, cpuCores, memoryBytes: wholeNumber(raw.memoryBytes) };
  return { instanceId, observation, found };
}

function supportOf({ type, supported, reason, message, engine }: InstanceTypeSupport): TypeSupport[] {
  const name = nameOf<InstanceType>(type, "INSTANCE_TYPE_", INSTANCE_TYPES);
  if (name === null) return [];
  return [{ type: name, supported, reason: cut(reason, MAX_WORD), message: cut(message, MAX_MESSAGE), engine: cut(engine, 256) }];
}

/** A seed's enum without its prefix; null for one that this version does not know. */
function nameOf<T extends string>(value: string, prefix: string, names: readonly T[]): T | null {
  return names.find((name) => `${prefix}${name}` === value) ?? null;
}

/** Text that both databases store; empty is null. */
function cut(text: string, maxLength: number): string | null {
  const storable = text.slice(0, maxLength).toWellFormed().replaceAll("\u0000", "");
  return storable === "" ? null : storable;
}

function wholeNumber(value: number): number {
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function validDate(value: Date | undefined): Date | null {
  return value && !Number.isNaN(value.getTime()) ? value : null;
}
