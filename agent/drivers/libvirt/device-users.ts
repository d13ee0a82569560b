import type { DeviceUser } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type DeviceUsers, usbAtPort } from "../../hardware/device-users.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import type { StoragePoolReference } from "../../libvirt/protocol/structures.ts";
import { groupOf } from "./devices/device-notes.ts";
import type { DomainFacts } from "./domain-facts.ts";
import type { DomainIndex } from "./domain-index.ts";
import { attempt, orNull } from "./driver-errors.ts";
import { attribute, element, elements, parseXml, text } from "./xml.ts";

const MAX_POOLS = 256;

/** Who has what of the host: its domains, whoever made them (those that are off have what they will take when they start), and its pools. */
export async function readDeviceUsers(client: LibvirtClient, index: DomainIndex, signal: AbortSignal): Promise<DeviceUsers> {
  const [domains, pools] = await Promise.all([index.all(signal), poolSources(client, signal)]);
  return { ...usersOf(domains.map(({ facts }) => facts)), pools };
}

/** In the order of the domains: where two are to have the same device, the first one is told. */
export function usersOf(domains: readonly DomainFacts[]): Omit<DeviceUsers, "pools"> {
  const [pci, usb, interfaces] = [new Map<string, DeviceUser>(), new Map<string, DeviceUser>(), new Map<string, DeviceUser>()];
  for (const { name, mark, hostDevices, deviceNotes } of domains) {
    const user: DeviceUser = { instanceId: mark?.instanceId ?? "", guestName: name };
    const note = (users: Map<string, DeviceUser>, key: string) => users.has(key) || users.set(key, user);
    for (const address of hostDevices.pci) note(pci, address);
    for (const given of deviceNotes) {
      if (given.kind === "usb") note(usb, usbAtPort(given));
      else for (const { address } of groupOf(given)) note(pci, address);
    }
    for (const name of hostDevices.interfaces) note(interfaces, name);
    for (const { id, place } of hostDevices.usb) {
      // Two that are alike are told apart by their place.
      if (place !== null) note(usb, usbPlace(place.bus, place.device));
      else if (id !== null) note(usb, id);
    }
  }
  return { pci, usb, interfaces };
}

/** As `DeviceUsers.usb` names a device by where it is now. */
function usbPlace(bus: number, device: number): string {
  return `${bus}/${device}`;
}

/** What a pool stands on: its folder, and the devices that it is made of. */
export function poolSourcesIn(xml: string): { name: string; sources: string[] } {
  const pool = parseXml(xml, "pool");
  const devices = elements(element(pool, "source"), "device").map((device) => attribute(device, "path"));
  // A volume group's folder is /dev/NAME, which nobody mounts.
  const folder = text(element(pool, "target", "path")).replace(/(?<=.)\/+$/, "");
  return { name: text(element(pool, "name")), sources: [...devices, folder].filter((source) => source.startsWith("/")) };
}

async function poolSources(client: LibvirtClient, signal: AbortSignal): Promise<Map<string, string>> {
  const { pools } = await attempt("list storage pools", () => client.call("connectListAllStoragePools", {}, { signal }));
  const read = async (pool: StoragePoolReference) => {
    const answer = orNull(client.call("storagePoolGetXmlDesc", { pool }, { signal }), "NO_STORAGE_POOL");
    return (await attempt("read a storage pool", () => answer))?.xml ?? null;
  };
  const texts = await Promise.all(pools.slice(0, MAX_POOLS).map(read));
  const found = new Map<string, string>();
  for (const xml of texts.filter((one) => one !== null)) {
    const { name, sources } = poolSourcesIn(xml);
    for (const source of sources) if (!found.has(source)) found.set(source, name);
  }
  return found;
}
