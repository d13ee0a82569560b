import { setTimeout as delay } from "node:timers/promises";
import { precondition } from "../shared/refusals.ts";
import { type ContainerFacts, isHalfStarted, isPaused, isRunning } from "./container-facts.ts";
import { applyLimits } from "./container-sizes.ts";
import { attempt, EngineRefusal, engineError } from "./engine-errors.ts";
import type { EngineHost } from "./engine-host.ts";
import { setFrozen } from "./freezer.ts";
import { checkSources } from "./mounts.ts";

const START_TIMEOUT_MS = 60_000;
/** What an engine that was killed in the middle of a start leaves in the runtime, the next attempt removes. */
const INTERRUPTED = /container with given ID already exists|runc start \S+` failed: exit status/;
const START_ATTEMPTS = 4;
const START_PAUSE_MS = 250;

/** FAILED_PRECONDITION FailedToStart, with what the engine said. */
export async function startContainer(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  if (isPaused(facts)) throw precondition("InstanceSuspended", "It is suspended: resume it.");
  if (isRunning(facts)) return;
  // What was adopted has what it had when others made it.
  if (facts.mark !== null) await checkSources(facts.bindSources, host.mountRoots);
  await startAnyhow(host, facts, signal);
  host.runs.started(facts.id);
  host.inspections.changed(facts.id);
  const limits = host.notes.all.get(facts.id)?.limits ?? null;
  if (limits !== null) await applyLimits(host, facts.id, limits, signal);
}

async function startAnyhow(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  let now: ContainerFacts | null = facts;
  for (let count = 1; ; count += 1) {
    if (now !== null && isHalfStarted(now)) await endHalfStarted(host, now, signal);
    try {
      await host.engine.post(`/containers/${facts.id}/start`, { signal, timeoutMs: START_TIMEOUT_MS });
      return;
    } catch (error) {
      host.inspections.changed(facts.id);
      if (!(error instanceof EngineRefusal)) throw error;
      now = await host.find({ nativeId: facts.id }, signal);
      if (now === null) throw precondition("InstanceMissing", "Its container is not on this host: it was removed by other means.");
      if (isRunning(now)) return;
      if (count === START_ATTEMPTS || !INTERRUPTED.test(error.message)) {
        host.runs.startFailed(facts.id, error.message);
        throw precondition("FailedToStart", `The container did not start: ${error.message}`);
      }
      await delay(START_PAUSE_MS, undefined, { signal });
    }
  }
}

/** Its process may run while podman takes it for one that was never started: podman stops it all the same. */
export async function endHalfStarted(
  { engine, inspections }: EngineHost,
  { id }: Pick<ContainerFacts, "id">,
  signal: AbortSignal,
): Promise<void> {
  await attempt("end a start that was interrupted", () => engine.post(`/containers/${id}/stop`, { signal, query: { t: 0 } }));
  inspections.changed(id);
}

/** Sends the stop signal of its image. */
export async function requestStop(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  if (isHalfStarted(facts)) return await endHalfStarted(host, facts, signal);
  if (!isRunning(facts)) return;
  await align(host, facts);
  host.runs.asked(facts.id, "REQUESTED");
  await sendSignal(host, facts, facts.stopSignal, signal);
}

export async function killContainer(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  if (isHalfStarted(facts)) return await endHalfStarted(host, facts, signal);
  if (!isRunning(facts)) return;
  await align(host, facts);
  host.runs.asked(facts.id, "DESTROYED");
  await sendSignal(host, facts, "SIGKILL", signal);
}

export async function suspendContainer(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  await change(host, facts, "pause", "paused", signal);
}

export async function resumeContainer(host: EngineHost, facts: ContainerFacts, signal: AbortSignal): Promise<void> {
  await change(host, facts, "unpause", "running", signal);
}

async function sendSignal(host: EngineHost, { id }: ContainerFacts, name: string, signal: AbortSignal): Promise<void> {
  try {
    await host.engine.post(`/containers/${id}/kill`, { signal, query: { signal: name } });
  } catch (error) {
    const now = await look(host, id, signal);
    if (now !== null && isRunning(now)) throw engineError(error, "send the container a signal");
  }
  // One that is frozen gets its signals when it goes on.
  const now = await look(host, id, signal);
  if (now?.status !== "paused") return;
  await host.engine.post(`/containers/${id}/unpause`, { signal }).catch((error: unknown) => {
    if (!(error instanceof EngineRefusal)) throw error;
  });
  host.inspections.changed(id);
}

async function change(
  host: EngineHost,
  facts: ContainerFacts,
  call: "pause" | "unpause",
  wanted: "paused" | "running",
  signal: AbortSignal,
): Promise<void> {
  if (!isRunning(facts)) throw precondition("InstanceNotRunning", `It does not run: its container is ${facts.status}.`);
  await align(host, facts);
  if (facts.status === wanted) return;
  try {
    await host.engine.post(`/containers/${facts.id}/${call}`, { signal });
  } catch (error) {
    const now = await look(host, facts.id, signal);
    if (now?.status !== wanted) throw engineError(error, `${call} the container`);
  }
  host.inspections.changed(facts.id);
}

/** Makes it, in the kernel, what its engine takes it for: then the engine can go on with it. */
async function align({ inspections, log }: EngineHost, { id, name, pid, status, frozen }: ContainerFacts): Promise<void> {
  const wanted = status === "paused";
  if (frozen === null || frozen === wanted) return;
  const done = await setFrozen(id, pid, wanted);
  log.warn({ container: name, frozen: wanted, done }, "an engine that was killed does not know whether a container is frozen");
  inspections.changed(id);
}

async function look(host: EngineHost, id: string, signal: AbortSignal): Promise<ContainerFacts | null> {
  host.inspections.changed(id);
  return await host.find({ nativeId: id }, signal);
}
