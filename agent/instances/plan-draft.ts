import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { NativeInstance } from "../drivers/instance-driver.ts";
import type { FailedStep, Progress } from "./progress.ts";

/** What the agent does to an instance, one at a time. */
export type Step =
  /** Nothing, until something changes. */
  | { kind: "observe" }
  /** Nothing, until something changes or this time has come (milliseconds since the epoch). */
  | { kind: "wait"; until: number }
  /** Nothing is left of it: only its number is remembered. */
  | { kind: "forget" }
  /** A driver's method. */
  | { kind: FailedStep };

/** All that a plan is made from. */
export interface Situation {
  desired: ApplyInstanceRequest;
  progress: Progress;
  /** Of this instance; null: there is nothing. */
  native: NativeInstance | null;
  /** Milliseconds since the epoch. */
  now: number;
  /** The host's boot; empty where it is not known. */
  bootId: string;
}

export interface Plan {
  step: Step;
  /** To be on disk before the step is carried out. What is to be told is its `shown`. */
  progress: Progress;
  /** Nothing more is to be done for the revision. */
  settled: boolean;
  /** What the step is, where that takes long; empty otherwise. */
  activity: string;
}

/** A situation whose progress may be changed while the plan is made. */
export type Draft = Omit<Situation, "bootId">;

const TRANSITIONAL: ReadonlySet<InstanceState> = new Set([
  InstanceState.CREATING,
  InstanceState.STARTING,
  InstanceState.STOPPING,
  InstanceState.RESTARTING,
]);

export function isTransitional(state: InstanceState): boolean {
  return TRANSITIONAL.has(state);
}

/** Another state than before, for the reason given; the same state keeps what was said about it. */
export function show(draft: Draft, state: InstanceState, reason: string): void {
  const { progress } = draft;
  if (progress.shown.state !== state) progress.shown = { state, reason, message: "", exitCode: null };
}

export function settled({ progress }: Draft): Plan {
  return { step: { kind: "observe" }, progress, settled: true, activity: "" };
}

/** Something is under way that the agent does not steer. */
export function observing({ progress }: Draft): Plan {
  return { step: { kind: "observe" }, progress, settled: false, activity: "" };
}

export function next({ progress }: Draft, step: Step, activity = ""): Plan {
  return { step, progress, settled: false, activity };
}
