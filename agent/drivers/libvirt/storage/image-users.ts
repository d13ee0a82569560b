import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { StoragePoolReference } from "../../../libvirt/protocol/structures.ts";
import { LIST_POOLS } from "../../../libvirt/values.ts";
import { attempt, orNull } from "../driver-errors.ts";
import { readDiskUses } from "../volumes/disk-users.ts";
import { OF_FILES } from "./open-pool.ts";
import { readPoolXml, readVolumeXml } from "./storage-xml.ts";

/** Who needs a file. */
export interface Users {
  instanceIds: Set<string>;
  /** Domains and volumes that are nobody's instances. */
  names: Set<string>;
}

const OF_INSTANCE = /^(inst-[a-z0-9]+)(\.|$)/;

/**
 * Which files of the host others stand on: the disks of domains, and the volumes in any of libvirt's directories. By their paths. What came
 * without libvirt's knowing is seen after the pool's next refresh.
 */
export async function readImageUsers(client: LibvirtClient, signal: AbortSignal): Promise<Map<string, Users>> {
  const users = new Map<string, Users>();
  const add = (path: string, user: string) => {
    const known = users.get(path) ?? { instanceIds: new Set(), names: new Set() };
    users.set(path, known);
    const instanceId = OF_INSTANCE.exec(user)?.[1];
    if (instanceId === undefined) known.names.add(user);
    else known.instanceIds.add(instanceId);
  };
  for (const { path, user } of await readDiskUses(client, signal)) add(path, user);
  const { pools } = await attempt("list storage pools", () =>
    client.call("connectListAllStoragePools", { flags: LIST_POOLS.ACTIVE }, { signal }),
  );
  for (const pool of pools) for (const { path, name } of await readOverlays(client, pool, signal)) add(path, name);
  return users;
}

/** What stands on another file: its name, and that file's path. */
async function readOverlays(
  client: LibvirtClient,
  pool: StoragePoolReference,
  signal: AbortSignal,
): Promise<{ name: string; path: string }[]> {
  return await attempt("look for what stands on images", async () => {
    const described = await orNull(client.call("storagePoolGetXmlDesc", { pool }, { signal }), "NO_STORAGE_POOL");
    if (described === null || !OF_FILES.includes(readPoolXml(described.xml).type)) return [];
    const listed = await orNull(client.call("storagePoolListAllVolumes", { pool }, { signal }), "NO_STORAGE_POOL", "OPERATION_INVALID");
    const overlays = await Promise.all(
      (listed?.vols ?? []).map(async (vol) => {
        const found = await orNull(client.call("storageVolGetXmlDesc", { vol }, { signal }), "NO_STORAGE_VOL", "NO_STORAGE_POOL");
        const path = found === null ? null : readVolumeXml(found.xml).backingPath;
        return path === null ? null : { name: vol.name, path };
      }),
    );
    return overlays.filter((overlay) => overlay !== null);
  });
}
