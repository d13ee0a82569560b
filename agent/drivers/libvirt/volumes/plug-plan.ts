import { diskAlias, type ExtraDevices, type ExtraDisk, type ExtraInterface, interfaceAlias, type PresentDevices } from "./devices.ts";

/** What is to be done to a domain, in its definition or while it runs. */
export interface PlugPlan {
  /** Aliases. */
  detach: readonly string[];
  disks: readonly ExtraDisk[];
  interfaces: readonly ExtraInterface[];
}

/** What is there as asked for stays; what is there differently is detached and attached anew. */
export function planPlug(present: PresentDevices, wanted: ExtraDevices): PlugPlan {
  const disks = wanted.disks.filter((disk) => !present.disks.some((one) => one.name === disk.name && isSameDisk(one, disk)));
  const interfaces = wanted.interfaces.filter((nic) => !present.interfaces.some((one) => isSameInterface(one, nic)));
  const kept = new Set([
    ...wanted.disks.filter((disk) => !disks.includes(disk)).map(({ name }) => diskAlias(name)),
    ...wanted.interfaces.filter((nic) => !interfaces.includes(nic)).map(({ name }) => interfaceAlias(name)),
  ]);
  const there = [...present.disks.map(({ name }) => diskAlias(name)), ...present.interfaces.map(({ name }) => interfaceAlias(name))];
  return { detach: there.filter((alias) => !kept.has(alias)), disks, interfaces };
}

export function isNothing({ detach, disks, interfaces }: PlugPlan): boolean {
  return detach.length + disks.length + interfaces.length === 0;
}

/** A snapshot may have put a file on top of it. */
function isSameDisk(present: { paths: readonly string[]; readOnly: boolean }, wanted: ExtraDisk): boolean {
  return present.paths.includes(wanted.path) && present.readOnly === wanted.readOnly;
}

function isSameInterface(present: ExtraInterface, wanted: ExtraInterface): boolean {
  return present.name === wanted.name && present.network === wanted.network && present.filter === wanted.filter;
}
