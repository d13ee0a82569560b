import type { Instance } from "../entities/instance.ts";
import type { InstanceTransaction } from "./instance-writer.ts";
import { foundInstance, foundSpec } from "./new-instance.ts";
import { sameList } from "./observation.ts";
import type { Seen } from "./report-input.ts";

/** As the control plane itself makes them. */
const OWN_ID = /^inst-[0-9a-z]{16}$/;

/**
 * Takes what an agent says of an instance that is not ours: shown, and never touched. One that bears a mark of ours which this database has
 * never heard of is such a one, too. `here`: what is known of the node; a new one is added.
 */
export function takeFound(
  instances: InstanceTransaction,
  nodeId: string,
  { instanceId, observation, found }: Seen,
  here: Instance[],
): void {
  const { nativeId, state } = observation;
  const isIt = (one: Instance) => (instanceId === null ? one.nativeId === nativeId && one.state !== "DELETED" : one.id === instanceId);
  const known = here.find(isIt);
  // It was adopted a moment ago, and its agent has not been told yet.
  if (known?.managed) return;
  if (state === "DELETED") {
    if (known) forget(instances, known, here);
    return;
  }
  if (found === null) return;
  const instance = known ?? foundInstance(instances.em, nodeId, found, instanceId !== null && OWN_ID.test(instanceId) ? instanceId : null);
  const update = () => describe(instance, found, observation);
  if (known) {
    instances.change(instance, update);
    return;
  }
  update();
  instances.create(instance);
  here.push(instance);
}

/** After a full report: what was found before and is not there any more is gone; what is ours and was not named is told again. */
export function forgetUnseen(instances: InstanceTransaction, here: Instance[], seen: readonly Seen[]): void {
  const ids = new Set(seen.map(({ instanceId }) => instanceId));
  const natives = new Set(seen.map(({ observation }) => observation.nativeId));
  for (const instance of [...here]) {
    if (!instance.managed) {
      if (!natives.has(instance.nativeId)) forget(instances, instance, here);
    } else if (instance.state !== "DELETED" && !ids.has(instance.id)) {
      instances.change(instance, () => {
        instance.appliedRevision = 0;
      });
    }
  }
}

function forget(instances: InstanceTransaction, instance: Instance, here: Instance[]): void {
  instances.forget(instance);
  here.splice(here.indexOf(instance), 1);
}

function describe(
  instance: Instance,
  found: NonNullable<Seen["found"]>,
  { generation, stateReason, message, ...rest }: Seen["observation"],
): void {
  const { name, type, state, nativeId, cpuCores, memoryBytes } = found;
  Object.assign(instance, { name, nameFolded: name.toLowerCase(), type, state, nativeId, generation, stateReason, errorMessage: message });
  Object.assign(instance, { exitCode: rest.exitCode, startedAt: rest.startedAt });
  if (!sameList(instance.ipAddresses, rest.ipAddresses)) instance.ipAddresses = rest.ipAddresses;
  if (instance.spec.cpuCores !== cpuCores || instance.spec.memoryBytes !== memoryBytes)
    instance.spec = foundSpec({ cpuCores, memoryBytes });
}
