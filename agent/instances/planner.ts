import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import { fingerprint, HOST_REBOOTED, isDown, MISSING, REQUESTED, stateOf } from "./native-view.ts";
import { planDeletion } from "./plan-deletion.ts";
import { type Draft, next, type Plan, type Situation, settled, show } from "./plan-draft.ts";
import { planExisting } from "./plan-goal.ts";
import type { Failure } from "./progress.ts";

/**
 * The next step for an instance, from what it is to be, how far it is, and what is on the host. Pure: the same situation gives the same plan,
 * so that a start after a crash at any moment goes on where the last one was. One step at a time: what it did is looked at before the next.
 */
export function planNext({ bootId, ...situation }: Situation): Plan {
  const draft: Draft = { ...situation, progress: { ...situation.progress } };
  const { progress, native, desired } = draft;
  noteBoot(draft, bootId);
  if (progress.goal === "DELETED") return planDeletion(draft);
  if (native !== null && !progress.made && !progress.leftover) judgeMark(draft, native);
  if (progress.leftover) {
    show(draft, InstanceState.CREATING, REQUESTED);
    return next(draft, { kind: "remove" }, "removing what an earlier placement left");
  }
  // What is gone is missing, whatever failed before.
  if (progress.failure !== null && !(native === null && progress.made)) {
    const { failure } = progress;
    if (fingerprint(native) === failure.native) return standing(draft, failure);
    // Something has been done to it since.
    Object.assign(progress, {
      failure: null,
      reached: progress.made,
      stopping: null,
      restarts: Math.max(progress.restarts, desired.restarts),
    });
  }
  if (native === null) return planAbsent(draft);
  if (!progress.made) {
    const isAdoption = desired.adoptNativeId !== "";
    if (!isAdoption) return create(draft);
    if (native.mark?.instanceId !== desired.instanceId) return adopt(draft, native);
    progress.made = true;
  }
  progress.nativeId = native.nativeId;
  return planExisting(draft, native);
}

/** What ran when the host went down is started again, where it is to run; what was suspended is lost. */
function noteBoot({ progress, native }: Draft, bootId: string): void {
  const isNewBoot = bootId !== "" && progress.bootId !== "" && progress.bootId !== bootId;
  if (bootId !== "") progress.bootId = bootId;
  if (!isNewBoot) return;
  progress.starting = null;
  if (native === null || !isDown(native) || !progress.up) return;
  if (progress.goal === "RUNNING") {
    Object.assign(progress, { reached: false, failure: null, up: false });
    progress.shown = { state: InstanceState.STARTING, reason: HOST_REBOOTED, message: "", exitCode: null };
  } else if (progress.goal === "SUSPENDED") {
    Object.assign(progress, { goal: "STOPPED", reached: true, up: false });
    progress.shown = { state: InstanceState.STOPPED, reason: HOST_REBOOTED, message: "", exitCode: null };
  }
}

/** What is there although it was not made for this placement. */
function judgeMark(draft: Draft, native: NativeInstance): void {
  const { desired, progress } = draft;
  const { mark } = native;
  if (mark === null) return;
  const refuse = (reason: string, message: string) => {
    progress.failure = { step: "create", reason, message, native: fingerprint(native) };
  };
  if (mark.instanceId !== desired.instanceId) {
    if (mark.nodeId === desired.nodeId) refuse("AlreadyManaged", "It is another instance of the fleet already.");
  } else if (mark.generation > desired.generation) {
    refuse("StaleGeneration", `The host has generation ${mark.generation} of this instance, which is newer.`);
  } else if (mark.generation < desired.generation && desired.adoptNativeId === "") {
    progress.leftover = true;
  }
}

function planAbsent(draft: Draft): Plan {
  const { progress, desired } = draft;
  if (!progress.made && desired.adoptNativeId === "") return create(draft);
  const message = progress.made ? "It was removed from its host by somebody else." : "What is to be adopted is not on the host.";
  progress.shown = { state: InstanceState.ERROR, reason: MISSING, message, exitCode: null };
  // Should it come back, it is what it is then.
  if (progress.made) {
    Object.assign(progress, { goal: "STOPPED", reached: true, stopping: null, killedAt: null, starting: null, failure: null, up: false });
    progress.restarts = Math.max(progress.restarts, desired.restarts);
  }
  return settled(draft);
}

/** Also for what is there already: a creation that was interrupted is completed by the same call. */
function create(draft: Draft): Plan {
  draft.progress.making = true;
  show(draft, InstanceState.CREATING, REQUESTED);
  return next(draft, { kind: "create" });
}

function adopt(draft: Draft, native: NativeInstance): Plan {
  draft.progress.nativeId = native.nativeId;
  show(draft, stateOf(native), native.reason);
  return next(draft, { kind: "adopt" }, "taking it over");
}

/** What is well but for what was asked of it last is shown as what it is, with the reason. */
function standing(draft: Draft, { step, reason, message }: Failure): Plan {
  const { progress, native } = draft;
  const isWell = step === "resize" && native !== null && (!isDown(native) || progress.goal === "STOPPED");
  const state = isWell ? stateOf(native) : InstanceState.ERROR;
  progress.shown = { state, reason, message, exitCode: native?.exitCode ?? null };
  return settled(draft);
}
