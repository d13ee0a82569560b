import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { StoragePoolReference } from "../../../libvirt/protocol/structures.ts";
import { attempt, orNull } from "../driver-errors.ts";
import type { Volume } from "../storage/storage-pool.ts";
import { readVolumeXml } from "../storage/storage-xml.ts";

/** Of one answer. */
export const MAX_LISTED = 10_000;

/** All volumes of a pool that runs, as libvirt saw them last. RESOURCE_EXHAUSTED TooManyVolumes where they are more than can be told. */
export async function readVolumes(client: LibvirtClient, pool: StoragePoolReference, signal: AbortSignal): Promise<Volume[]> {
  const task = `list the volumes of the pool ${pool.name}`;
  // One that was stopped or removed meanwhile has none.
  const list = () => orNull(client.call("storagePoolListAllVolumes", { pool }, { signal }), "NO_STORAGE_POOL", "OPERATION_INVALID");
  const vols = (await attempt(task, list))?.vols ?? [];
  if (vols.length > MAX_LISTED) {
    throw new FleetError("RESOURCE_EXHAUSTED", `The pool ${pool.name} has ${vols.length} volumes; ${MAX_LISTED} can be listed.`, {
      reason: "TooManyVolumes",
    });
  }
  const read = await Promise.all(
    vols.map(async (reference) => {
      const look = () => orNull(client.call("storageVolGetXmlDesc", { vol: reference }, { signal }), "NO_STORAGE_VOL", "NO_STORAGE_POOL");
      const answer = await attempt(task, look);
      return answer === null ? null : { ...readVolumeXml(answer.xml), name: reference.name, reference };
    }),
  );
  return read.filter((volume) => volume !== null);
}
