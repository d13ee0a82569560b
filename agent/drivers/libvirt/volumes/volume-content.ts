import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { precondition } from "../../shared/refusals.ts";
import { HEAD_BYTES, imageFacts } from "../storage/image-format.ts";
import type { StoragePool, Volume } from "../storage/storage-pool.ts";
import type { VolumeFile, VolumeFormat } from "./names.ts";

/** What a guest sees of it. libvirt tells what it takes the content for, and a guest may write into a raw volume whatever it likes. */
export function capacityOf(volume: Volume, format: VolumeFormat): number {
  return format === "raw" ? volume.physicalBytes : volume.capacity;
}

/** Whether libvirt's tools would take it for what it is. */
export function isAsDeclared(volume: Volume, format: VolumeFormat): boolean {
  return format === "qcow2" ? volume.format === "qcow2" : volume.format === "raw" || volume.format === "iso";
}

/**
 * Refuses a file that reaches beyond itself or is damaged: whoever can write to the pool's directory (another host, the NFS server) could have
 * put it there. FAILED_PRECONDITION VolumeUnusable.
 */
export async function checkContent(store: StoragePool, volume: Volume, { name, format }: VolumeFile, signal: AbortSignal): Promise<void> {
  const unusable = (why: string) => precondition("VolumeUnusable", `The volume ${name} cannot be used: ${why}`, { volume: name });
  if (volume.type !== "file") throw unusable("it is no file.");
  if (format === "raw") return;
  const head = await store.read(volume, Math.min(HEAD_BYTES, volume.physicalBytes), signal);
  try {
    imageFacts(name, "qcow2", head, volume.physicalBytes);
  } catch (error) {
    throw unusable(FleetError.from(error).message);
  }
}
