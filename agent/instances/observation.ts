import { InstanceState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { isDown, stateOf } from "./native-view.ts";
import type { Shown } from "./progress.ts";
import type { InstanceRecord, Tombstone } from "./take-desired.ts";

const MAX_TEXT = 1000;
const MAX_WORD = 64;
const MAX_ADDRESSES = 64;

const NOTHING: InstanceObservation = {
  instanceId: "",
  nativeId: "",
  generation: 0,
  revision: 0,
  settled: false,
  state: InstanceState.UNSPECIFIED,
  stateReason: "",
  message: "",
  activity: "",
  ipAddresses: [],
  startedAt: undefined,
  exitCode: undefined,
  made: false,
  name: "",
  type: InstanceType.UNSPECIFIED,
  cpuCores: 0,
  memoryBytes: 0,
};

/** What is known of a managed instance. */
export interface ManagedView {
  record: InstanceRecord;
  shown: Shown;
  settled: boolean;
  activity: string;
  /** Undefined: it was not looked at yet. */
  native: NativeInstance | null | undefined;
}

/** Of one that was not looked at yet. */
export function viewBeforeLook(record: InstanceRecord): ManagedView {
  return { record, shown: provisional(record), settled: false, activity: "", native: undefined };
}

function provisional({ progress, desired }: InstanceRecord): Shown {
  const { shown, goal, made } = progress;
  if (goal === "DELETED") return { ...shown, state: InstanceState.STOPPING };
  if (shown.state !== InstanceState.UNSPECIFIED || made || desired.adoptNativeId !== "") return shown;
  return { ...shown, state: InstanceState.CREATING };
}

export function managedObservation({ record, shown, settled, activity, native }: ManagedView): InstanceObservation {
  const { desired, progress } = record;
  return {
    ...NOTHING,
    instanceId: desired.instanceId,
    nativeId: native?.nativeId ?? progress.nativeId,
    generation: desired.generation,
    revision: desired.revision,
    settled,
    state: shown.state,
    stateReason: word(shown.reason),
    message: text(shown.message),
    activity: text(activity),
    ...runFacts(native ?? null),
    exitCode: shown.exitCode ?? undefined,
    made: progress.made && native !== null,
  };
}

/** Of what the agent does not manage. `isOurs`: it has this node's mark, though the agent has no record of it. */
export function foundObservation(native: NativeInstance, isOurs: boolean): InstanceObservation {
  const { nativeId, mark, reason, message, name, type, cpuCores, memoryBytes } = native;
  const isDead = isDown(native);
  return {
    ...NOTHING,
    instanceId: isOurs ? (mark?.instanceId ?? "") : "",
    generation: isOurs ? (mark?.generation ?? 0) : 0,
    nativeId,
    settled: true,
    state: stateOf(native),
    stateReason: word(reason),
    message: text(message),
    ...runFacts(native),
    exitCode: isDead ? (native.exitCode ?? undefined) : undefined,
    made: true,
    name: name.slice(0, 253),
    type,
    cpuCores,
    memoryBytes,
  };
}

/** What was found is not there any more. */
export function goneObservation(last: InstanceObservation): InstanceObservation {
  const { instanceId, generation, nativeId } = last;
  return { ...NOTHING, instanceId, generation, nativeId, settled: true, state: InstanceState.DELETED };
}

export function deletedObservation({ instanceId, generation, revision }: Tombstone): InstanceObservation {
  return { ...NOTHING, instanceId, generation, revision, settled: true, state: InstanceState.DELETED, stateReason: "REQUESTED" };
}

function runFacts(native: NativeInstance | null): Pick<InstanceObservation, "ipAddresses" | "startedAt"> {
  if (native === null || isDown(native)) return { ipAddresses: [], startedAt: undefined };
  return { ipAddresses: native.ipAddresses.slice(0, MAX_ADDRESSES), startedAt: native.startedAt ?? undefined };
}

function text(value: string): string {
  return value.length <= MAX_TEXT ? value : `${value.slice(0, MAX_TEXT - 1)}…`;
}

function word(value: string): string {
  return value.slice(0, MAX_WORD);
}
