import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { checkInteger, checkListLength, checkName, checkOneOf, checkStringMap, checkText } from "../../kit/input-checks.ts";
import { refuseUserInfo } from "./images/image-ref.ts";
import {
  DISK_TYPES,
  type DiskSpec,
  FIRMWARES,
  type InstanceSecrets,
  type InstanceSpec,
  type InstanceType,
  type StringMap,
} from "./instance-types.ts";
import { checkInterfaces, checkVolumes, type RawAttachedVolume, type RawInterface } from "./spec-devices-input.ts";
import { checkLimits, checkMounts, checkNetwork, type RawLimits, type RawMount, type RawNetwork } from "./spec-parts-input.ts";

/** What a face hands over: its shape is right, its values are not checked. Null, undefined and "" are not given. */
export interface RawSpec {
  image?: string | null;
  cpuCores: number;
  memoryBytes: number;
  disks?: readonly RawDisk[] | null;
  network?: RawNetwork | null;
  kernel?: string | null;
  initrd?: string | null;
  kernelArgs?: string | null;
  command?: readonly string[] | null;
  args?: readonly string[] | null;
  env?: StringMap | null;
  volumeMounts?: readonly RawMount[] | null;
  volumes?: readonly RawAttachedVolume[] | null;
  interfaces?: readonly RawInterface[] | null;
  limits?: RawLimits | null;
  firmware?: string | null;
  cloudInit?: RawCloudInit | null;
}

export interface RawDisk {
  name: string;
  sizeBytes?: number | null;
  type?: string | null;
  boot?: boolean | null;
}

export interface RawCloudInit {
  userData?: string | null;
  sshAuthorizedKeys?: readonly string[] | null;
}

const MIB = 2 ** 20;
const MAX_CORES = 1_024;
const MIN_MEMORY = 4 * MIB;
/** A pebibyte: the sum of an instance's disks is still an exact number. */
const MAX_BYTES = 2 ** 50;
const MIN_DISK = MIB;
const MAX_DISKS = 16;
const MAX_PATH = 1_024;
/** The kernel's own bound (COMMAND_LINE_SIZE on x86). */
const MAX_KERNEL_ARGS = 2_048;
const MAX_WORDS = 256;
const MAX_WORD_BYTES = 65_536;
const MAX_ENV_BYTES = 65_536;
/** As cloud-init's own data sources have it. */
const MAX_USER_DATA = 65_536;
const MAX_KEYS = 20;

/** Every part of a spec, with the path of the field at fault; a part that the type does not have is refused, so that nothing is ignored. */
export function checkSpec(raw: RawSpec | null | undefined, type: InstanceType): { spec: InstanceSpec; secrets: InstanceSecrets } {
  if (!raw) throw invalidArgument("spec", "What the instance is made of is needed.");
  refuseOtherParts(raw, type);
  const image = checkName("spec.image", raw.image, MAX_PATH);
  const kernel = checkName("spec.kernel", raw.kernel, MAX_PATH);
  if (image !== null) refuseUserInfo("spec.image", image);
  if (image === null && type === "CONTAINER") throw invalidArgument("spec.image", "A container needs an image.");
  if (image === null && kernel === null) throw invalidArgument("spec.image", "An image or a kernel is needed.");
  if (kernel === null && raw.initrd) throw invalidArgument("spec.initrd", "An initrd needs a kernel.");
  if (kernel === null && raw.kernelArgs) throw invalidArgument("spec.kernelArgs", "Kernel arguments need a kernel.");
  const disks = checkDisks(raw.disks ?? [], image);
  const spec: InstanceSpec = {
    image,
    cpuCores: checkCores("spec.cpuCores", raw.cpuCores),
    memoryBytes: checkMemory("spec.memoryBytes", raw.memoryBytes),
    disks,
    network: checkNetwork(raw.network, type),
    kernel,
    initrd: checkName("spec.initrd", raw.initrd, MAX_PATH),
    kernelArgs: checkName("spec.kernelArgs", raw.kernelArgs, MAX_KERNEL_ARGS),
    command: checkWords("spec.command", raw.command ?? []),
    args: checkWords("spec.args", raw.args ?? []),
    volumeMounts: checkMounts(raw.volumeMounts ?? []),
    volumes: checkVolumes(raw.volumes ?? [], disks),
    interfaces: checkInterfaces(raw.interfaces ?? [], type),
    limits: checkLimits(raw.limits),
    firmware: checkOneOf("spec.firmware", raw.firmware ?? "BIOS", FIRMWARES),
    cloudInit: raw.cloudInit ? { sshAuthorizedKeys: checkKeys(raw.cloudInit.sshAuthorizedKeys ?? []) } : null,
  };
  const userData = raw.cloudInit?.userData ?? "";
  if (Buffer.byteLength(userData) > MAX_USER_DATA) {
    throw invalidArgument("spec.cloudInit.userData", `At most ${MAX_USER_DATA} bytes.`, { maxBytes: MAX_USER_DATA });
  }
  const secrets = {
    env: checkEnv(raw.env ?? {}),
    userData: userData === "" ? null : checkText("spec.cloudInit.userData", userData, MAX_USER_DATA),
  };
  return { spec, secrets };
}

export function checkCores(field: string, cpuCores: number): number {
  return checkInteger(field, cpuCores, 1, MAX_CORES);
}

export function checkMemory(field: string, memoryBytes: number): number {
  return checkInteger(field, memoryBytes, MIN_MEMORY, MAX_BYTES);
}

export function checkDiskSize(field: string, sizeBytes: number): number {
  return checkInteger(field, sizeBytes, MIN_DISK, MAX_BYTES);
}

/** Parts that not every type has, and which types do. */
const PARTS: ReadonlyArray<readonly [part: keyof RawSpec, types: readonly InstanceType[]]> = [
  ["kernel", ["VM", "MICROVM"]],
  ["initrd", ["VM", "MICROVM"]],
  ["kernelArgs", ["VM", "MICROVM"]],
  ["disks", ["VM", "MICROVM"]],
  ["volumes", ["VM", "MICROVM"]],
  ["interfaces", ["VM", "MICROVM"]],
  ["firmware", ["VM"]],
  ["cloudInit", ["VM"]],
  ["command", ["CONTAINER"]],
  ["args", ["CONTAINER"]],
  ["volumeMounts", ["CONTAINER"]],
];

function refuseOtherParts(raw: RawSpec, type: InstanceType): void {
  const given = givenParts(raw);
  for (const [part, types] of PARTS) {
    if (given.has(part) && !types.includes(type)) {
      throw invalidArgument(`spec.${part}`, `Only for ${types.join(" and ")}; this is to be a ${type}.`, { types: [...types] });
    }
  }
}

function givenParts(raw: RawSpec): Set<keyof RawSpec> {
  const isGiven = (value: unknown) => Boolean(value) && value !== "BIOS" && !(Array.isArray(value) && value.length === 0);
  return new Set((Object.keys(raw) as Array<keyof RawSpec>).filter((part) => isGiven(raw[part])));
}

function checkDisks(raw: readonly RawDisk[], image: string | null): DiskSpec[] {
  checkListLength("spec.disks", raw, MAX_DISKS);
  const names = new Set<string>();
  let hasBoot = false;
  return raw.map(({ name, sizeBytes, type, boot }, index) => {
    const field = `spec.disks[${index}]`;
    if (!/^[A-Za-z0-9_-]{1,63}$/.test(name)) throw invalidArgument(`${field}.name`, "A disk's name has 1–63 letters, digits, '-' and '_'.");
    if (names.has(name)) throw invalidArgument(`${field}.name`, "Each name may occur once.");
    names.add(name);
    if (boot && hasBoot) throw invalidArgument(`${field}.boot`, "At most one disk is the boot disk.");
    hasBoot ||= boot === true;
    const ofImage = boot === true && image !== null;
    if (!sizeBytes && !ofImage) throw invalidArgument(`${field}.sizeBytes`, "A size is needed: only a boot disk has that of its image.");
    return {
      name,
      sizeBytes: sizeBytes ? checkDiskSize(`${field}.sizeBytes`, sizeBytes) : 0,
      type: type ? checkOneOf(`${field}.type`, type, DISK_TYPES) : null,
      boot: boot === true,
    };
  });
}

function checkWords(field: string, words: readonly string[]): string[] {
  checkListLength(field, words, MAX_WORDS);
  let bytes = 0;
  for (const [index, word] of words.entries()) {
    checkText(`${field}[${index}]`, word, MAX_WORD_BYTES);
    bytes += Buffer.byteLength(word);
  }
  if (bytes > MAX_WORD_BYTES) throw invalidArgument(field, `At most ${MAX_WORD_BYTES} bytes in all.`, { maxBytes: MAX_WORD_BYTES });
  return [...words];
}

function checkEnv(env: StringMap): StringMap {
  const wrong = Object.keys(env).find((name) => name.includes("="));
  if (wrong !== undefined) throw invalidArgument("spec.env", "A variable's name has no '='.", { key: wrong.slice(0, 253) });
  return checkStringMap("spec.env", env, MAX_ENV_BYTES);
}

function checkKeys(keys: readonly string[]): string[] {
  checkListLength("spec.cloudInit.sshAuthorizedKeys", keys, MAX_KEYS);
  return keys.map((key, index) => {
    const field = `spec.cloudInit.sshAuthorizedKeys[${index}]`;
    const line = checkName(field, key.trim(), 16_384);
    if (line === null || !/^\S+ \S+/.test(line)) throw invalidArgument(field, "An OpenSSH public key in one line is needed.");
    return line;
  });
}
