import { DesiredState, type InstanceSpec, InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";

export type Goal = "RUNNING" | "STOPPED" | "SUSPENDED" | "DELETED";

/** What was told last about an instance. */
export interface Shown {
  state: InstanceState;
  reason: string;
  message: string;
  exitCode: number | null;
}

/** A guest that is to shut down. Times are in milliseconds since the epoch. */
export interface Stopping {
  /** When it was asked last; null: not yet, as far as the disk knows. */
  askedAt: number | null;
  /** Then it is killed. */
  until: number;
  /** That time has come. */
  timedOut: boolean;
}

export type FailedStep = "create" | "adopt" | "start" | "requestStop" | "kill" | "suspend" | "resume" | "resize" | "remove";

/** What could not be done for the revision that is asked for; only a new one is tried. */
export interface Failure {
  step: FailedStep;
  reason: string;
  message: string;
  /** `fingerprint` of what was on the host then; empty: nothing. */
  native: string;
}

/** How far the agent is with an instance: with what is to be, all that a new start needs to go on. Kept on disk. */
export interface Progress {
  /** What it is to be now: as was asked for, or what it became since by itself or by others' hands. */
  goal: Goal;
  /** It was what `goal` says: what differs from now on was not done by the agent. */
  reached: boolean;
  /** It exists on the host, or did: it is never made again. */
  made: boolean;
  /** There may be something half made of it. */
  making: boolean;
  /** Something of an earlier placement has to go first. */
  leftover: boolean;
  /** Empty before it is known. */
  nativeId: string;
  /** `sizeOf` what it was made or resized as. */
  size: string;
  /** The highest restart that was carried out. */
  restarts: number;
  stopping: Stopping | null;
  /** When it was killed last for the revision that is asked for, in milliseconds since the epoch; null: it was not. */
  killedAt: number | null;
  /** A start has begun: when it had started last before that (milliseconds since the epoch), and which restart it carries out. */
  starting: { before: number | null; restarts: number } | null;
  failure: Failure | null;
  /** The host's boot in which it was looked at last; empty where that is not known. */
  bootId: string;
  /** It ran, or was suspended, when it was looked at last. */
  up: boolean;
  shown: Shown;
}

export const NOTHING_SHOWN: Shown = { state: InstanceState.UNSPECIFIED, reason: "", message: "", exitCode: null };

/** For a placement that the agent hears of for the first time. */
export function firstProgress(desired: ApplyInstanceRequest): Progress {
  const known = desired.madeBefore || desired.adoptNativeId !== "";
  const goal = goalOf(desired.desiredState);
  return {
    goal,
    reached: false,
    made: desired.madeBefore && desired.adoptNativeId === "",
    // An agent that lost its disk does not know better.
    making: goal === "DELETED",
    leftover: false,
    nativeId: desired.adoptNativeId,
    size: known ? sizeOf(desired.spec) : "",
    // Which of them an agent that lost its disk has carried out is not known: at most once is the better side.
    restarts: desired.restarts,
    stopping: null,
    killedAt: null,
    starting: null,
    failure: null,
    bootId: "",
    up: false,
    shown: NOTHING_SHOWN,
  };
}

export function goalOf(desired: DesiredState): Goal {
  switch (desired) {
    case DesiredState.RUNNING:
      return "RUNNING";
    case DesiredState.SUSPENDED:
      return "SUSPENDED";
    case DesiredState.DELETED:
      return "DELETED";
    default:
      return "STOPPED";
  }
}

/** The part of a spec that `resize` carries out. */
export function sizeOf(spec: InstanceSpec | undefined): string {
  if (spec === undefined) return "";
  const { cpuCores, memoryBytes, disks, volumes, interfaces } = spec;
  const plugged = volumes.length + interfaces.length === 0 ? [] : [volumes, interfaces];
  return JSON.stringify([cpuCores, memoryBytes, disks.map(({ name, sizeBytes }) => [name, sizeBytes]), ...plugged]);
}

const DEFAULT_STOP_SECONDS = 60;

/** How long a guest has to shut down, in milliseconds. */
export function stopTimeoutMs({ stopTimeoutSeconds }: Pick<ApplyInstanceRequest, "stopTimeoutSeconds">): number {
  return (stopTimeoutSeconds > 0 ? stopTimeoutSeconds : DEFAULT_STOP_SECONDS) * 1000;
}
