import os from "node:os";
import type { NativeState } from "../instance-driver.ts";
import { type ContainerFacts, isPaused } from "./container-facts.ts";

/** What a container is, in the drivers' words. */
export interface Condition {
  state: NativeState;
  reason: string;
  message: string;
  /** Of its command, when it has ended. */
  exitCode: number | null;
}

/** What is known about the end of a container's current run, or its last one, that the engine does not tell. */
export interface RunNotes {
  /** REQUESTED: it was asked to stop. DESTROYED: it was killed. */
  asked: "REQUESTED" | "DESTROYED" | null;
  /** The engine's message, where the last start failed. */
  startError: string | null;
  /** The kernel killed a process of it for want of memory. */
  outOfMemory: boolean;
}

/** A shell and the engines say 128 and the signal's number for a process that a signal ended. */
const SIGNAL_BASE = 128;
const STOPPING: ReadonlySet<string> = new Set(["SIGTERM", "SIGKILL"]);

export function conditionOf(facts: ContainerFacts, notes: RunNotes): Condition {
  switch (facts.status) {
    case "running":
    case "paused":
      return isPaused(facts) ? still("PAUSED", "REQUESTED") : still("RUNNING", "STARTED");
    case "restarting":
      return still("RUNNING", "RESTARTING", "Its engine starts it again and again, by its restart policy.");
    case "stopping":
      return still("STOPPING", "REQUESTED");
    case "created":
    case "initialized":
    case "configured":
      return notStarted(facts, notes);
    case "exited":
    case "stopped":
      return ended(facts, notes);
    case "removing":
      return still("FAILED", "REMOVING", "Its removal began and has not come to an end.");
    case "dead":
      return still("FAILED", "DEAD", "The container engine could not remove it.");
    default:
      return still("FAILED", "UNKNOWN", `The container engine calls its state ${JSON.stringify(facts.status)}.`);
  }
}

function still(state: NativeState, reason: string, message = ""): Condition {
  return { state, reason, message, exitCode: null };
}

function notStarted(facts: ContainerFacts, { startError }: RunNotes): Condition {
  const error = startError ?? facts.startError;
  return error === "" ? still("STOPPED", "CREATED") : still("FAILED", "FAILED_TO_START", error);
}

function ended(facts: ContainerFacts, { asked, startError, outOfMemory }: RunNotes): Condition {
  const { exitCode, startError: kept, memoryBytes, stopSignal } = facts;
  const failedStart = startError ?? kept;
  if (failedStart !== "") return { state: "FAILED", reason: "FAILED_TO_START", message: failedStart, exitCode: null };
  if (asked !== null) return { state: "STOPPED", reason: asked, message: "", exitCode };
  if (exitCode === 0) return { state: "STOPPED", reason: "EXITED", message: "", exitCode };
  if (outOfMemory) {
    const limit = memoryBytes === 0 ? "" : `, of which it may use ${Math.round(memoryBytes / 1024 ** 2)} MiB`;
    return { state: "FAILED", reason: "OUT_OF_MEMORY", message: `The kernel ended it for want of memory${limit}.`, exitCode };
  }
  const signal = signalName(exitCode);
  // Nothing sends itself these: somebody stopped or killed it, by its engine or by hand.
  if (signal !== null && (STOPPING.has(signal) || isSignal(stopSignal, signal))) {
    return { state: "STOPPED", reason: "DESTROYED", message: `Ended by ${signal}.`, exitCode };
  }
  const why = signal === null ? "" : ` (${signal})`;
  return { state: "FAILED", reason: "EXITED", message: `Its command ended with exit code ${exitCode}${why}.`, exitCode };
}

/** Engines name signals "SIGTERM", "TERM" or "15". */
function isSignal(text: string, name: string): boolean {
  return text === name || `SIG${text}` === name || Number(text) === os.constants.signals[name as NodeJS.Signals];
}

function signalName(exitCode: number): string | null {
  const number = exitCode - SIGNAL_BASE;
  return Object.entries(os.constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}
