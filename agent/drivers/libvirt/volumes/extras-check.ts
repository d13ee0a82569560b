import type { AttachedVolume, InstanceSpec, NetworkInterfaceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { invalid } from "../../shared/refusals.ts";
import { checkDeviceName, checkPoolName, checkVolumeName, shown } from "./names.ts";

export interface WantedExtras {
  volumes: readonly AttachedVolume[];
  interfaces: readonly NetworkInterfaceSpec[];
}

const MAX_VOLUMES = 16;
const MAX_INTERFACES = 8;
const MAX_GROUPS = 16;
const MAX_TEXT = 253;
/** What QEMU keeps of a disk's serial number. */
const SERIAL_LENGTH = 20;

/** Refuses what no host could do: INVALID_ARGUMENT with the field, below `at`. */
export function checkExtras({ volumes, interfaces }: WantedExtras, at = ""): void {
  if (volumes.length > MAX_VOLUMES) throw tooMany(`${at}volumes`, volumes.length, MAX_VOLUMES);
  if (interfaces.length > MAX_INTERFACES) throw tooMany(`${at}interfaces`, interfaces.length, MAX_INTERFACES);
  for (const [index, { name, pool, volume }] of volumes.entries()) {
    checkDeviceName(`${at}volumes[${index}].name`, name);
    checkPoolName(pool, `${at}volumes[${index}].pool`);
    checkVolumeName(volume, `${at}volumes[${index}].volume`);
  }
  for (const [index, { name, network }] of interfaces.entries()) {
    const field = `${at}interfaces[${index}]`;
    checkDeviceName(`${field}.name`, name);
    if (network?.assignPublicIp) {
      throw invalid(
        "PublicIpUnsupported",
        `${field}.network.assignPublicIp`,
        "Only an instance's first interface comes with a public one.",
      );
    }
    if (network?.networkId === "none") throw invalid("NetworkInvalid", `${field}.network.networkId`, "An interface has a network.");
    const texts = [network?.networkId ?? "", network?.subnetId ?? "", ...(network?.securityGroups ?? [])];
    if (texts.some(({ length }) => length > MAX_TEXT) || texts.length > MAX_GROUPS + 2) {
      throw invalid("NetworkInvalid", `${field}.network`, `A network's names have at most ${MAX_TEXT} characters, and are not that many.`);
    }
  }
  unique(
    `${at}volumes`,
    "DeviceNameTaken",
    volumes.map(({ name }) => name),
  );
  unique(
    `${at}volumes`,
    "VolumeTwice",
    volumes.map(({ pool, volume }) => `${pool}/${volume}`),
  );
  unique(
    `${at}interfaces`,
    "DeviceNameTaken",
    interfaces.map(({ name }) => name),
  );
}

/** Of a whole instance: a guest tells its disks by their serial numbers. */
export function checkSpecExtras(spec: Pick<InstanceSpec, "disks" | "volumes" | "interfaces">): void {
  checkExtras(spec, "spec.");
  checkSerials(
    spec.disks.map(({ name }) => name.slice(0, SERIAL_LENGTH)),
    spec,
    "spec.",
  );
}

/** `taken`: serial numbers of the other disks. */
export function checkSerials(taken: readonly string[], { volumes }: Pick<WantedExtras, "volumes">, at = ""): void {
  const index = volumes.findIndex(({ name }) => taken.includes(name));
  if (index === -1) return;
  throw invalid(
    "DeviceNameTaken",
    `${at}volumes[${index}].name`,
    `A disk of the instance is called ${shown(volumes[index]?.name ?? "")} already.`,
  );
}

function unique(field: string, reason: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw invalid(reason, field, `${shown(twice)} is there twice.`);
}

function tooMany(field: string, count: number, most: number) {
  return invalid("TooManyDevices", field, `An instance has at most ${most} of these; ${count} were asked for.`);
}
