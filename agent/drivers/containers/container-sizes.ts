import type { InstancePlan } from "../instance-driver.ts";
import { checkPlan } from "./check-plan.ts";
import type { ContainerFacts } from "./container-facts.ts";
import { isRunning } from "./container-facts.ts";
import { attempt } from "./engine-errors.ts";
import type { EngineHost } from "./engine-host.ts";
import { checkLimits, hostConfigLimits, type Limits, limitsOf } from "./limits.ts";

const DEFAULT_PERIOD_US = 100_000;

/** Makes CPUs and memory what the plan says, while it runs or not. */
export async function resizeContainer(host: EngineHost, facts: ContainerFacts, plan: InstancePlan, signal: AbortSignal): Promise<void> {
  checkPlan(plan);
  const limits = limitsOf(plan.spec);
  const { info, isPodman } = await host.facts(signal);
  checkLimits(limits, info);
  // podman 4 changes the limits of processes that run, and keeps them no longer than those do: each start puts them back.
  if (!isPodman || isRunning(facts)) await applyLimits(host, facts.id, limits, signal);
  if (isPodman) await host.notes.set(facts.id, { mark: host.notes.all.get(facts.id)?.mark ?? null, limits });
  host.inspections.changed(facts.id);
}

/** On podman, of one that runs. */
export async function applyLimits(host: EngineHost, id: string, limits: Limits, signal: AbortSignal): Promise<void> {
  const { info, isPodman } = await host.facts(signal);
  await attempt("change the container's limits", async () => {
    if (isPodman) await host.engine.podman("POST", `/containers/${id}/update`, { signal, body: runtimeResources(limits, info.SwapLimit) });
    else await host.engine.post(`/containers/${id}/update`, { signal, body: hostConfigLimits(limits, info) });
  });
}

/** As the OCI runtime's specification has them. */
function runtimeResources({ cpuCores, quota, period, memoryBytes, swapBytes }: Limits, limitsSwap: boolean): object {
  return {
    cpu: quota === null ? { quota: cpuCores * DEFAULT_PERIOD_US, period: DEFAULT_PERIOD_US } : { quota, period },
    memory: { limit: memoryBytes, ...(limitsSwap ? { swap: swapBytes } : {}) },
  };
}
