import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { InstancePlan } from "../instance-driver.ts";
import { activityOf } from "../shared/activity.ts";
import { precondition } from "../shared/refusals.ts";
import { blockDevice } from "./block-device.ts";
import { checkPlan } from "./check-plan.ts";
import { type ContainerConfig, containerConfig } from "./container-config.ts";
import type { ContainerFacts } from "./container-facts.ts";
import { INSTANCE_LABEL } from "./container-mark.ts";
import { removeAll } from "./container-removal.ts";
import { attempt, engineError, isNameTaken, isNotFound } from "./engine-errors.ts";
import type { EngineHost } from "./engine-host.ts";
import type { EngineInfo, InspectedImage } from "./engine-types.ts";
import type { ImagePulls } from "./image-pulls.ts";
import { imageReference } from "./image-reference.ts";
import { checkLimits, type Limits, limitsOf } from "./limits.ts";
import { type ContainerMount, containerMounts } from "./mounts.ts";
import { networkMode } from "./networks.ts";

const CREATE_TIMEOUT_MS = 60_000;
const UNDO_TIMEOUT_MS = 30_000;
/** The image may be removed between fetching and use, and a half-made container may have the name. */
const ATTEMPTS = 3;

/** Makes a plan's container, or finds that it is there. Nothing is made before everything was checked; what was made is removed on failure. */
export async function createContainer(
  host: EngineHost,
  pulls: ImagePulls,
  plan: InstancePlan,
  onActivity: (activity: string) => void,
  signal: AbortSignal,
): Promise<ContainerFacts> {
  checkPlan(plan);
  const image = imageReference(plan.spec.image);
  const limits = limitsOf(plan.spec);
  const existing = await findExisting(host, plan, signal);
  if (existing !== null) return existing;
  const { info, isPodman } = await host.facts(signal);
  checkLimits(limits, info);
  const mounts = await containerMounts(plan.instanceId, plan.spec, host.mountRoots);
  const mode = await networkMode(host.engine, plan.spec.network, signal);
  const device = await limitedDevice(limits, info);
  const config = containerConfig(plan, { info, isPodman, image, limits, mounts, networkMode: mode, blockDevice: device });
  for (let count = 1; ; count += 1) {
    checkCommand(plan, await pulls.ensure(image, (progress) => onActivity(activityOf(progress)), signal));
    const made = await make(host, plan, config, mounts, count < ATTEMPTS, signal);
    if (made !== null) return made;
  }
}

async function findExisting(
  host: EngineHost,
  { instanceId, generation }: InstancePlan,
  signal: AbortSignal,
): Promise<ContainerFacts | null> {
  const named = await host.find({ nativeId: instanceId }, signal);
  if (named === null) return null;
  const mark = host.markOf(named);
  if (mark?.instanceId === instanceId && mark.generation === generation) return named;
  const whose = mark === null ? "that others made" : `of generation ${mark.generation}`;
  throw precondition("NameTaken", `There is a container ${instanceId} ${whose} on this host: remove it first.`, { nativeId: named.id });
}

/** Null: what stood in the way is gone, and it is worth another attempt. */
async function make(
  host: EngineHost,
  plan: InstancePlan,
  config: ContainerConfig,
  mounts: readonly ContainerMount[],
  again: boolean,
  signal: AbortSignal,
): Promise<ContainerFacts | null> {
  const { engine } = host;
  const { instanceId } = plan;
  try {
    for (const { Source } of mounts.filter(({ Type }) => Type === "volume")) {
      const body = { Name: Source, Labels: { [INSTANCE_LABEL]: instanceId } };
      await attempt("make a volume", () => engine.post("/volumes/create", { signal, body }));
    }
    await engine.post("/containers/create", { signal, query: { name: instanceId }, body: config, timeoutMs: CREATE_TIMEOUT_MS });
    host.inspections.changed(instanceId);
    const made = await host.find({ instanceId }, signal);
    if (made === null) throw precondition("InstanceMissing", "Its container vanished as soon as it was made.");
    return made;
  } catch (error) {
    // Of another agent or a person, made since it was looked for; or half made, by an engine that was killed.
    if (isNameTaken(error)) {
      const existing = await findExisting(host, plan, signal);
      if (existing !== null) return existing;
    }
    await undo(host, instanceId);
    if (again && (isNameTaken(error) || isNotFound(error))) return null;
    throw engineError(error, "make the container");
  }
}

async function undo(host: EngineHost, instanceId: string): Promise<void> {
  // Also after the caller has given up. What cannot be removed now is removed with the instance.
  await removeAll(host, { instanceId }, AbortSignal.timeout(UNDO_TIMEOUT_MS)).catch((error: unknown) => {
    host.log.warn({ err: error, instanceId }, "a container that was not made has left something behind");
  });
}

async function limitedDevice({ readBps, writeBps }: Limits, { DockerRootDir }: EngineInfo): Promise<string | null> {
  if (readBps === 0 && writeBps === 0) return null;
  return await blockDevice(DockerRootDir, readBps === 0 ? "spec.limits.ioWriteBps" : "spec.limits.ioReadBps");
}

/** The engines refuse it too, in words of their own. */
function checkCommand({ spec }: InstancePlan, { Config }: InspectedImage): void {
  const ofImage = [Config?.Entrypoint ?? [], Config?.Cmd ?? []].flat();
  // `args` without `command` follow the image's entrypoint, or are the command themselves.
  if (spec.command.length > 0 || spec.args.length > 0 || ofImage.length > 0) return;
  const message = `The image ${spec.image} does not say what runs in it: name a command.`;
  throw new FleetError("FAILED_PRECONDITION", message, { reason: "CommandRequired", details: { field: "spec.command" } });
}
