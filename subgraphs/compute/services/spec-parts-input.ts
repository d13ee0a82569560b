import { isIP } from "node:net";
import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { checkInteger, checkListLength, checkName } from "../../kit/input-checks.ts";
import type { InstanceType, NetworkSpec, ResourceLimits, VolumeMount } from "./instance-types.ts";

export interface RawNetwork {
  networkId?: string | null;
  subnetId?: string | null;
  securityGroups?: readonly string[] | null;
  assignPublicIp?: boolean | null;
}

export interface RawMount {
  name: string;
  mountPath: string;
  readOnly?: boolean | null;
}

export type RawLimits = { [K in keyof ResourceLimits]?: number | null };

/** Works on every host. */
const DEFAULT_NETWORK = "default";
export const NO_NETWORK = "none";
const MAX_GROUPS = 16;
const MAX_MOUNTS = 32;
const MAX_PATH = 1_024;

/** The kernel's own bounds of a CPU quota's period (cgroup v2), in microseconds. */
const CPU_PERIOD = { min: 1_000, max: 1_000_000 };

export function checkNetwork(raw: RawNetwork | null | undefined, type: InstanceType, at = "spec.network"): NetworkSpec {
  const networkId = checkName(`${at}.networkId`, raw?.networkId, 128) ?? DEFAULT_NETWORK;
  const subnetId = checkName(`${at}.subnetId`, raw?.subnetId, 64);
  if (subnetId !== null && !isSubnet(subnetId)) {
    throw invalidArgument(`${at}.subnetId`, "A subnet such as 192.168.122.0/24 is needed.");
  }
  const securityGroups = checkGroups(`${at}.securityGroups`, raw?.securityGroups ?? [], type);
  const assignPublicIp = raw?.assignPublicIp ?? false;
  if (networkId === NO_NETWORK) {
    const other = Object.entries({ subnetId, securityGroups: securityGroups[0], assignPublicIp }).find(([, value]) => value);
    if (other) throw invalidArgument(`${at}.${other[0]}`, `There is no network with networkId "${NO_NETWORK}".`);
  }
  return { networkId, subnetId, securityGroups, assignPublicIp };
}

function isSubnet(text: string): boolean {
  const [address = "", prefix = "", ...rest] = text.split("/");
  const family = isIP(address);
  return family !== 0 && rest.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

function checkGroups(field: string, groups: readonly string[], type: InstanceType): string[] {
  if (groups.length > 0 && type === "CONTAINER") throw invalidArgument(field, "Only for VM and MICROVM; this is to be a CONTAINER.");
  checkListLength(field, groups, MAX_GROUPS);
  return groups.map((group, index) => {
    const name = checkName(`${field}[${index}]`, group, 128);
    if (name === null) throw invalidArgument(`${field}[${index}]`, "A name is needed.");
    if (groups.indexOf(group) !== index) throw invalidArgument(`${field}[${index}]`, "Each group may occur once.");
    return name;
  });
}

export function checkMounts(mounts: readonly RawMount[]): VolumeMount[] {
  checkListLength("spec.volumeMounts", mounts, MAX_MOUNTS);
  const paths = new Set<string>();
  return mounts.map(({ name, mountPath, readOnly }, index) => {
    const field = `spec.volumeMounts[${index}]`;
    const source = checkName(`${field}.name`, name, MAX_PATH);
    if (source === null) throw invalidArgument(`${field}.name`, "What is mounted is needed.");
    const path = checkName(`${field}.mountPath`, mountPath, MAX_PATH);
    if (path === null || !path.startsWith("/") || path.split("/").includes("..")) {
      throw invalidArgument(`${field}.mountPath`, "An absolute path without '..' is needed.");
    }
    if (paths.has(path)) throw invalidArgument(`${field}.mountPath`, "Each path may occur once.");
    paths.add(path);
    return { name: source, mountPath: path, readOnly: readOnly ?? false };
  });
}

/** Null where nothing is limited. */
export function checkLimits(raw: RawLimits | null | undefined): ResourceLimits | null {
  if (!raw) return null;
  const limit = (name: keyof ResourceLimits) => checkInteger(`spec.limits.${name}`, raw[name] ?? 0, 0, Number.MAX_SAFE_INTEGER);
  const limits: ResourceLimits = {
    cpuQuota: limit("cpuQuota"),
    cpuPeriod: limit("cpuPeriod"),
    memoryLimit: limit("memoryLimit"),
    memorySwap: limit("memorySwap"),
    ioReadBps: limit("ioReadBps"),
    ioWriteBps: limit("ioWriteBps"),
  };
  if (limits.cpuPeriod !== 0) checkInteger("spec.limits.cpuPeriod", limits.cpuPeriod, CPU_PERIOD.min, CPU_PERIOD.max);
  if (limits.cpuPeriod !== 0 && limits.cpuQuota === 0) throw invalidArgument("spec.limits.cpuQuota", "A period needs a quota.");
  if (limits.memorySwap !== 0 && limits.memorySwap < limits.memoryLimit) {
    throw invalidArgument("spec.limits.memorySwap", "It counts memory and swap together: at least memoryLimit.");
  }
  return Object.values(limits).some((value) => value > 0) ? limits : null;
}
