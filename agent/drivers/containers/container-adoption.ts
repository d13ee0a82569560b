import type { InstanceMark } from "../instance-driver.ts";
import { precondition } from "../shared/refusals.ts";
import { attempt } from "./engine-errors.ts";
import type { EngineHost } from "./engine-host.ts";

/**
 * Notes that a container is the agent's from now on. One that its engine would start again or remove by itself is refused, unless that can be
 * switched off.
 */
export async function adoptContainer(host: EngineHost, nativeId: string, mark: InstanceMark, signal: AbortSignal): Promise<void> {
  host.inspections.changed(nativeId);
  const facts = await host.find({ nativeId }, signal);
  if (facts === null) throw precondition("InstanceMissing", "This container is not on this host any more.");
  if (facts.autoRemove) {
    const message = `The container ${facts.name} is removed as soon as it stops (--rm): an instance is kept until it is deleted. Make it again without that.`;
    throw precondition("RemovedWhenStopped", message);
  }
  if (facts.restartPolicy !== "no") await endRestarts(host, facts.id, facts.name, facts.restartPolicy, signal);
  await host.notes.set(facts.id, { mark, limits: host.notes.all.get(facts.id)?.limits ?? null });
}

async function endRestarts(host: EngineHost, id: string, name: string, policy: string, signal: AbortSignal): Promise<void> {
  const { isPodman } = await host.facts(signal);
  if (isPodman) {
    const message = `The container ${name} is started again by podman (--restart=${policy}), which cannot be changed. Make it again without that.`;
    throw precondition("RestartPolicyKept", message);
  }
  const body = { RestartPolicy: { Name: "no" } };
  await attempt("change the container's restart policy", () => host.engine.post(`/containers/${id}/update`, { signal, body }));
  host.inspections.changed(id);
}
