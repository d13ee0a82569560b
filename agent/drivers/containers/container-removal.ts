import { setTimeout as delay } from "node:timers/promises";
import { precondition } from "../shared/refusals.ts";
import { INSTANCE_LABEL } from "./container-mark.ts";
import { killContainer } from "./container-runs.ts";
import { attempt, EngineRefusal, isNotFound } from "./engine-errors.ts";
import type { ContainerRef, EngineHost } from "./engine-host.ts";

const REMOVE_TIMEOUT_MS = 60_000;
/** Another removal may be under way, or its process just be ending. */
const ATTEMPTS = 4;
const PAUSE_MS = 500;

/** Removes a container with its volumes, also what is half made of one; nothing is left to remove where it is done. */
export async function removeAll(host: EngineHost, ref: ContainerRef, signal: AbortSignal): Promise<void> {
  const facts = await host.find(ref, signal);
  if (facts !== null && host.markOf(facts) === null) {
    throw precondition("InstanceUnmanaged", `The container ${facts.name} was made by others: it is not removed.`);
  }
  const mark = facts === null ? null : host.markOf(facts);
  const instanceId = "instanceId" in ref ? ref.instanceId : (mark?.instanceId ?? null);
  if (facts !== null) {
    await killContainer(host, facts, signal);
    await removeContainer(host, facts.id, signal);
    host.runs.forget(facts.id);
    host.inspections.changed(facts.id);
  }
  if (instanceId !== null) {
    await removeHalfMade(host, instanceId, signal);
    await removeVolumes(host, instanceId, signal);
  }
  if (facts !== null) await host.notes.delete(facts.id);
}

/** podman, killed while it made a container, keeps its name in the storage alone: it is not found, and yet it can be removed. */
async function removeHalfMade(host: EngineHost, instanceId: string, signal: AbortSignal): Promise<void> {
  if ((await host.find({ nativeId: instanceId }, signal)) === null) await removeContainer(host, instanceId, signal);
}

async function removeContainer({ engine }: EngineHost, nameOrId: string, signal: AbortSignal): Promise<void> {
  for (let count = 1; ; count += 1) {
    try {
      await engine.delete(`/containers/${nameOrId}`, { signal, query: { force: true, v: true }, timeoutMs: REMOVE_TIMEOUT_MS });
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!(error instanceof EngineRefusal) || count === ATTEMPTS) {
        await attempt("remove the container", () => Promise.reject(error));
      }
      await delay(PAUSE_MS, undefined, { signal });
    }
  }
}

async function removeVolumes({ engine }: EngineHost, instanceId: string, signal: AbortSignal): Promise<void> {
  const filters = { label: [`${INSTANCE_LABEL}=${instanceId}`] };
  await attempt("remove the instance's volumes", async () => {
    const { Volumes } = await engine.get<{ Volumes: Array<{ Name: string }> | null }>("/volumes", { signal, query: { filters } });
    for (const { Name } of Volumes ?? []) {
      await engine.delete(`/volumes/${encodeURIComponent(Name)}`, { signal }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
    }
  });
}
