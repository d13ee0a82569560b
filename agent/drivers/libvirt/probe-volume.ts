import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import type { StoragePoolReference } from "../../libvirt/protocol/structures.ts";
import { LIST_POOLS } from "../../libvirt/values.ts";
import { StoragePool } from "./storage/storage-pool.ts";
import { attribute, element, parseXml, text } from "./xml.ts";

/** A file on the host for as long as the boot probe needs it. */
export interface ProbeVolume {
  path: string;
  remove(signal: AbortSignal): Promise<void>;
}

/** Always the same, so that one that was left by a crash is used again and removed. */
const NAME = "fleetgraph-boot-probe.img";
const OWN_POOLS = /^fleetgraph-instances/;

/** In one of the host's storage pools that are directories, the agent's own first. Null where there is none. */
export async function makeProbeVolume(
  client: LibvirtClient,
  log: Logger,
  content: Buffer,
  signal: AbortSignal,
): Promise<ProbeVolume | null> {
  const { pools } = await client.call("connectListAllStoragePools", { flags: LIST_POOLS.ACTIVE }, { signal });
  const ownFirst = [...pools].sort((a, b) => Number(OWN_POOLS.test(b.name)) - Number(OWN_POOLS.test(a.name)));
  for (const reference of ownFirst) {
    const directory = await directoryOf(client, reference, signal);
    if (directory === null) continue;
    const pool = new StoragePool({ client, log, name: reference.name, directory });
    const { path } = await pool.write(NAME, content, signal);
    return { path, remove: (end) => pool.remove(NAME, end) };
  }
  return null;
}

async function directoryOf(client: LibvirtClient, pool: StoragePoolReference, signal: AbortSignal): Promise<string | null> {
  const { xml } = await client.call("storagePoolGetXmlDesc", { pool }, { signal });
  const root = parseXml(xml, "pool");
  return attribute(root, "type") === "dir" ? text(element(root, "target", "path")) : null;
}
