import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { checkListLength } from "../../kit/input-checks.ts";
import type { AttachedVolume, InstanceSpec, InstanceType, InterfaceSpec } from "./instance-types.ts";
import { checkNetwork, NO_NETWORK, type RawNetwork } from "./spec-parts-input.ts";

export interface RawAttachedVolume {
  name: string;
  pool: string;
  volume: string;
  readOnly?: boolean | null;
}

export interface RawInterface {
  name: string;
  network?: RawNetwork | null;
}

export const MAX_VOLUMES = 16;
export const MAX_INTERFACES = 8;

/** A name in the guest: the disk's serial number, of which QEMU keeps that much. */
const DEVICE_NAME = /^[A-Za-z0-9_-]{1,20}$/;
const SERIAL_LENGTH = 20;
const POOL_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const VOLUME_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

export function checkVolumes(raw: readonly RawAttachedVolume[], disks: InstanceSpec["disks"]): AttachedVolume[] {
  checkListLength("spec.volumes", raw, MAX_VOLUMES);
  const volumes: AttachedVolume[] = [];
  for (const [index, one] of raw.entries()) {
    const field = `spec.volumes[${index}]`;
    const volume = checkAttachedVolume(one, field);
    const taken = volumeConflict(volume, { disks, volumes });
    if (taken !== null) throw invalidArgument(`${field}.${taken.field}`, taken.message);
    volumes.push(volume);
  }
  return volumes;
}

/** `at`: the path of the field that holds it; empty: the input itself. */
export function checkAttachedVolume({ name, pool, volume, readOnly }: RawAttachedVolume, at = ""): AttachedVolume {
  return {
    name: checkDeviceName(pathOf(at, "name"), name),
    pool: checkPoolName(pathOf(at, "pool"), pool),
    volume: checkVolumeName(pathOf(at, "volume"), volume),
    readOnly: readOnly ?? false,
  };
}

/** What of a volume is there already; null: nothing. A guest tells its disks by their serial numbers, which are cut-off names. */
export function volumeConflict(
  { name, pool, volume }: AttachedVolume,
  { disks, volumes }: Pick<InstanceSpec, "disks" | "volumes">,
): { field: "name" | "volume"; message: string } | null {
  const isTaken = [...disks, ...volumes].some((other) => other.name.slice(0, SERIAL_LENGTH) === name);
  if (isTaken) return { field: "name", message: "A disk or volume of the instance is called so already." };
  const isThere = volumes.some((other) => other.pool === pool && other.volume === volume);
  return isThere ? { field: "volume", message: "The instance has this volume already." } : null;
}

export function checkInterfaces(raw: readonly RawInterface[], type: InstanceType): InterfaceSpec[] {
  checkListLength("spec.interfaces", raw, MAX_INTERFACES);
  const names = new Set<string>();
  return raw.map((one, index) => {
    const field = `spec.interfaces[${index}]`;
    const found = checkInterface(one, type, field);
    if (names.has(found.name)) throw invalidArgument(`${field}.name`, "Each name may occur once.");
    names.add(found.name);
    return found;
  });
}

export function checkInterface({ name, network }: RawInterface, type: InstanceType, at = ""): InterfaceSpec {
  const field = pathOf(at, "network");
  const checked = { name: checkDeviceName(pathOf(at, "name"), name), network: checkNetwork(network, type, field) };
  if (checked.network.assignPublicIp) {
    throw invalidArgument(`${field}.assignPublicIp`, "Only an instance's first interface comes with a public one: name its network here.");
  }
  if (checked.network.networkId === NO_NETWORK) throw invalidArgument(`${field}.networkId`, "An interface needs a network.");
  return checked;
}

/** Of a volume or an interface of an instance. */
export function checkDeviceName(field: string, name: string): string {
  if (!DEVICE_NAME.test(name)) throw invalidArgument(field, "A name has 1–20 letters, digits, '-' and '_'.");
  return name;
}

export function checkPoolName(field: string, name: string): string {
  if (!POOL_NAME.test(name)) throw invalidArgument(field, "A pool's name has 1–63 letters, digits, '-' and '_', a letter or digit first.");
  return name;
}

export function checkVolumeName(field: string, name: string): string {
  if (!VOLUME_NAME.test(name) || name.includes("..")) {
    throw invalidArgument(field, "A volume's name has 1–100 letters, digits, '-', '_' and single dots, a letter or digit first.");
  }
  return name;
}

function pathOf(at: string, field: string): string {
  return at === "" ? field : `${at}.${field}`;
}
