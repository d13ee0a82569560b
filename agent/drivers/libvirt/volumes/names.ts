import { createHash } from "node:crypto";
import { invalid } from "../../shared/refusals.ts";

export type VolumeFormat = "qcow2" | "raw";

/** A volume of a pool of ours, told by its file's name alone. */
export interface VolumeFile {
  name: string;
  format: VolumeFormat;
}

const POOL_NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/;
const VOLUME_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const DEVICE_NAME = /^[A-Za-z0-9_-]{1,20}$/;
/** The agent's own pools are called so. */
const OWN_POOLS = /^fleetgraph-/i;
const VOLUME_FILE = /^(.+)\.(qcow2|raw)$/;
const MAKING_FILE = /^(.+)\.making-([0-9a-f]{8})$/;
const SHOWN = 60;

export function checkPoolName(name: string, field = "name"): void {
  if (!POOL_NAME.test(name))
    throw invalid("PoolNameInvalid", field, `${shown(name)} is no name for a pool: up to 63 letters, digits, "-" and "_".`);
  if (OWN_POOLS.test(name))
    throw invalid("PoolNameInvalid", field, `Names that begin with "fleetgraph-" are the agent's own: ${shown(name)}.`);
}

export function checkVolumeName(name: string, field = "name"): void {
  if (!VOLUME_NAME.test(name) || name.includes("..")) {
    const message = `${shown(name)} is no name for a volume: up to 100 letters, digits, "-", "_" and single dots, a letter or digit first.`;
    throw invalid("VolumeNameInvalid", field, message);
  }
}

/** Of a volume or an interface of an instance. */
export function checkDeviceName(field: string, name: string): void {
  if (DEVICE_NAME.test(name)) return;
  throw invalid("DeviceNameInvalid", field, `${shown(name)} is no name for a device: up to 20 letters, digits, "-" and "_".`);
}

/** The file's ending says its format, for good: what a guest writes into a volume must never decide what it is taken for. */
export function volumeFile({ name, format }: VolumeFile): string {
  return `${name}.${format}`;
}

/** Null for a file that the agent did not make. */
export function readVolumeFile(file: string): VolumeFile | null {
  const [, name = "", format] = VOLUME_FILE.exec(file) ?? [];
  if (!VOLUME_NAME.test(name) || name.includes("..")) return null;
  return { name, format: format as VolumeFormat };
}

/** An empty file that is there while a host makes the volume: as long as it is, the volume is not whole. */
export function makingFile(name: string, host: string): string {
  return `${name}.making-${hostPrint(host)}`;
}

/** `own`: it is this host's. Null for another file. */
export function readMakingFile(file: string, host: string): { name: string; own: boolean } | null {
  const [, name = "", print] = MAKING_FILE.exec(file) ?? [];
  return VOLUME_NAME.test(name) ? { name, own: print === hostPrint(host) } : null;
}

export function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
}

/** A pool may be shared by several hosts. */
function hostPrint(host: string): string {
  return createHash("sha256").update(host).digest("hex").slice(0, 8);
}
