import {
  NetworkInterfaceKind as Kind,
  type NetworkInterface,
  type VlanInfo,
} from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { readInteger } from "../kernel-text.ts";
import { countOf, linkedName, linkOf, pciAddressIn, textOf } from "../sysfs.ts";
import type { Unavailable } from "../unavailable.ts";
import { readBond, readBridge } from "./bridge-and-bond.ts";
import type { IpLink } from "./ip-addresses.ts";
import { readSriov } from "./virtual-functions.ts";

const NET = "/sys/class/net";

export const INTERFACE_PATHS = [
  ...["ifindex", "type", "flags", "mtu", "address", "addr_assign_type", "operstate", "carrier", "speed", "duplex"],
  ...["uevent", "tun_flags", "master", "device", "device/driver", "device/physfn"],
].map((name) => `${NET}/*/${name}`);

/** IFF_UP and IFF_LOOPBACK of the kernel's if.h; IFF_TAP of its if_tun.h; NET_ADDR_PERM of its netdevice.h. */
const UP = 0x1;
const LOOPBACK = 0x8;
const TAP = 0x2;
const ADDRESS_IS_PERMANENT = 0;

const KIND_OF_LINK: Record<string, Kind> = { veth: Kind.VETH, vlan: Kind.VLAN, macvtap: Kind.TAP, ipvtap: Kind.TAP };

interface Reading {
  host: HostChannel;
  users: DeviceUsers;
  name: string;
  /** Where its link in /sys/class/net points to. */
  device: string;
  /** Undefined where `ip` does not know it, or is not there. */
  ip: IpLink | undefined;
  /** Its path in the inventory. */
  field: string;
  unavailable: Unavailable;
}

/** Null for one that went away meanwhile. */
export async function readInterface(reading: Reading): Promise<NetworkInterface | null> {
  const { host, users, name, device, ip, field, unavailable } = reading;
  const directory = `${NET}/${name}`;
  const index = await countOf(host, `${directory}/ifindex`);
  const flags = await unavailable.attempt(`${field}.enabled`, () => readInteger(host, `${directory}/flags`));
  if (index === undefined || flags === undefined) return null;
  const enabled = (flags & UP) !== 0;
  const carrier = enabled ? await countOf(host, `${directory}/carrier`) : undefined;
  const { kind, linkType } = await kindOf(reading, flags);
  const ofHardware = kind === Kind.PHYSICAL || kind === Kind.VIRTUAL_FUNCTION;
  const pciAddress = pciAddressIn(device);
  const mac = await macOf(host, directory);
  return {
    name,
    index,
    kind,
    linkType,
    mac,
    permanentMac: ofHardware ? await permanentMac(reading, mac) : undefined,
    state: ((await textOf(host, `${directory}/operstate`)) ?? "unknown").toUpperCase(),
    enabled,
    carrier: carrier === undefined ? undefined : carrier === 1,
    ...(await linkSpeed(reading, ofHardware, carrier === 1)),
    mtu: (await countOf(host, `${directory}/mtu`)) ?? 0,
    driver: ofHardware ? await linkedName(host, `${directory}/device/driver`) : undefined,
    pciAddress,
    addresses: ip?.addresses ?? [],
    master: await linkedName(host, `${directory}/master`),
    user: users.interfaces.get(name),
    bridge: kind === Kind.BRIDGE ? await readBridge(host, name) : undefined,
    bond: kind === Kind.BOND ? await readBond(host, name) : undefined,
    vlan: kind === Kind.VLAN ? vlanOf(reading) : undefined,
    sriov: kind === Kind.PHYSICAL && pciAddress !== undefined ? await readSriov(host, pciAddress, users) : undefined,
  };
}

/** `ip` knows best; without it the kernel's DEVTYPE and what only some kinds have (a veth is OTHER then). */
async function kindOf({ host, name, ip }: Reading, flags: number): Promise<{ kind: Kind; linkType: string }> {
  const directory = `${NET}/${name}`;
  if (flags & LOOPBACK) return { kind: Kind.LOOPBACK, linkType: "" };
  if ((await linkOf(host, `${directory}/device`)) !== undefined) {
    const virtual = (await linkOf(host, `${directory}/device/physfn`)) !== undefined;
    return { kind: virtual ? Kind.VIRTUAL_FUNCTION : Kind.PHYSICAL, linkType: ip?.kind ?? "" };
  }
  const tun = await textOf(host, `${directory}/tun_flags`);
  if (tun !== undefined) return { kind: Number(tun) & TAP ? Kind.TAP : Kind.OTHER, linkType: "tun" };
  const type = /^DEVTYPE=(.+)$/m.exec((await textOf(host, `${directory}/uevent`)) ?? "")?.[1] ?? "";
  const linkType = ip?.kind || type;
  if (type === "bridge") return { kind: Kind.BRIDGE, linkType };
  if (type === "bond") return { kind: Kind.BOND, linkType };
  return { kind: KIND_OF_LINK[linkType] ?? Kind.OTHER, linkType };
}

/** Six bytes or more; tunnels without addresses of their own have none. */
async function macOf(host: HostChannel, directory: string): Promise<string | undefined> {
  const address = await textOf(host, `${directory}/address`);
  return address !== undefined && /^[0-9a-f]{2}(:[0-9a-f]{2}){5,31}$/.test(address) ? address : undefined;
}

/** `ip` writes it only where it differs from the one that is used. */
async function permanentMac({ host, name, ip, field, unavailable }: Reading, mac: string | undefined): Promise<string | undefined> {
  if (ip?.permanentMac !== undefined) return ip.permanentMac;
  if ((await countOf(host, `${NET}/${name}/addr_assign_type`)) === ADDRESS_IS_PERMANENT) return mac;
  return unavailable.add(`${field}.permanentMac`, "NOT_SUPPORTED", `${name} uses an address that was given to it, and tells no other one.`);
}

async function linkSpeed({ host, name, field, unavailable }: Reading, ofHardware: boolean, carrier: boolean) {
  const speedMbps = carrier ? (await countOf(host, `${NET}/${name}/speed`)) || undefined : undefined;
  const told = carrier ? await textOf(host, `${NET}/${name}/duplex`) : undefined;
  const duplex = told === "full" || told === "half" ? told : undefined;
  for (const [key, value] of Object.entries({ speedMbps, duplex })) {
    if (value !== undefined || !ofHardware) continue;
    if (carrier) unavailable.add(`${field}.${key}`, "NOT_SUPPORTED", `The driver of ${name} does not tell.`);
    else unavailable.add(`${field}.${key}`, "NOT_PRESENT", `${name} has no link.`);
  }
  return { speedMbps, duplex };
}

function vlanOf({ ip, name, field, unavailable }: Reading): VlanInfo | undefined {
  if (ip?.vlan) return { vlanId: ip.vlan.id, parent: ip.vlan.parent, protocol: ip.vlan.protocol };
  return unavailable.add(`${field}.vlan`, "NOT_SUPPORTED", `Which VLAN ${name} is only \`ip\` tells.`);
}
