import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { StoragePoolReference } from "../../../libvirt/protocol/structures.ts";
import { orNull } from "../driver-errors.ts";
import { poolXml, readPoolXml } from "./storage-xml.ts";

/** Kinds of pools whose volumes are files in their directory. */
export const OF_FILES = ["dir", "fs", "netfs"];

/**
 * The pool of a directory, running. One that has the directory already, under whatever name, is used as it is: libvirt does not allow two.
 * Otherwise it is defined, and not marked for autostart: the agent starts it.
 */
export async function openPool(client: LibvirtClient, log: Logger, name: string, directory: string): Promise<StoragePoolReference> {
  const pool = (await byName(client, name, directory)) ?? (await byPath(client, directory)) ?? (await define(client, name, directory));
  const { active } = await client.call("storagePoolIsActive", { pool });
  if (active) return pool;
  // Makes the directory where it is missing; leaves one that is there alone.
  if (pool.name === name) await client.call("storagePoolBuild", { pool });
  try {
    await client.call("storagePoolCreate", { pool });
    log.info({ pool: pool.name, directory }, "started the storage pool");
  } catch (error) {
    // Somebody else was faster.
    const { active: meanwhile } = await client.call("storagePoolIsActive", { pool });
    if (!meanwhile) throw error;
  }
  return pool;
}

/** Null: there is no pool with that name. */
export async function directoryOfPool(client: LibvirtClient, name: string, signal: AbortSignal): Promise<string | null> {
  const found = await orNull(client.call("storagePoolLookupByName", { name }, { signal }), "NO_STORAGE_POOL");
  return found === null ? null : (await describe(client, found.pool)).path;
}

async function byName(client: LibvirtClient, name: string, directory: string): Promise<StoragePoolReference | null> {
  const found = await orNull(client.call("storagePoolLookupByName", { name }), "NO_STORAGE_POOL");
  if (found === null) return null;
  const { pool } = found;
  const { type, path } = await describe(client, pool);
  if (path === directory && OF_FILES.includes(type)) return pool;
  const message = `libvirt has a storage pool ${name} already, of type ${type} at ${path}; it should be the directory ${directory}. Remove that pool (virsh pool-destroy, pool-undefine; its files stay), or configure its directory.`;
  throw new FleetError("FAILED_PRECONDITION", message, { reason: "PoolElsewhere", details: { pool: name, path, directory } });
}

/** libvirt's own search by path leaves out pools that do not run. */
async function byPath(client: LibvirtClient, directory: string): Promise<StoragePoolReference | null> {
  const { pools } = await client.call("connectListAllStoragePools", {});
  for (const pool of pools) {
    const { type, path } = await describe(client, pool);
    if (path === directory && OF_FILES.includes(type)) return pool;
  }
  return null;
}

async function define(client: LibvirtClient, name: string, directory: string): Promise<StoragePoolReference> {
  return (await client.call("storagePoolDefineXml", { xml: poolXml(name, directory) })).pool;
}

async function describe(client: LibvirtClient, pool: StoragePoolReference): Promise<ReturnType<typeof readPoolXml>> {
  return readPoolXml((await client.call("storagePoolGetXmlDesc", { pool })).xml);
}
