import type { NetworkInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { linkOf } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { BRIDGE_AND_BOND_PATHS } from "./bridge-and-bond.ts";
import { INTERFACE_PATHS, readInterface } from "./interface.ts";
import { IP_ADDRESSES, readIpLinks } from "./ip-addresses.ts";
import { SRIOV_PATHS } from "./virtual-functions.ts";

const NET = "/sys/class/net";
const MAX_INTERFACES = 1024;

export const NETWORK_NEEDS: HostNeeds = {
  paths: [NET, `${NET}/*`, ...INTERFACE_PATHS, ...BRIDGE_AND_BOND_PATHS, ...SRIOV_PATHS],
  commands: [IP_ADDRESSES],
};

/**
 * Every network interface, ordered by name (eth2 before eth10). What sysfs has is from there; addresses, VLANs and the kinds of virtual
 * interfaces are `ip`'s, and not set without it. Never throws for what cannot be read.
 */
export async function readNetwork(host: HostChannel, users: DeviceUsers): Promise<NetworkInventory> {
  const unavailable = new Unavailable();
  const inventory: NetworkInventory = { interfaces: [], unavailable: unavailable.fields };
  const names = await unavailable.attempt("interfaces", () => host.list(NET));
  if (names === undefined) return inventory;
  const links = await unavailable.attempt("interfaces[*].addresses", () => readIpLinks(host));
  for (const name of names) {
    // Files are there too: the bonding driver's bonding_masters.
    const device = await linkOf(host, `${NET}/${name}`);
    if (device === undefined) continue;
    if (inventory.interfaces.length === MAX_INTERFACES) {
      unavailable.add("interfaces", "UNREADABLE", `The host has more than ${MAX_INTERFACES} network interfaces; the others are left out.`);
      break;
    }
    const field = `interfaces[${inventory.interfaces.length}]`;
    const one = await readInterface({ host, users, name, device, ip: links?.get(name), field, unavailable });
    if (one !== null) inventory.interfaces.push(one);
  }
  return inventory;
}
