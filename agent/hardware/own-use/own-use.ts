import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { HostReadError } from "../../host/host-channel.ts";
import { pciAddressesIn, usbPortsIn } from "./device-path.ts";
import { OWN_DISKS_PATHS, readOwnDisks } from "./own-disks.ts";
import { type InterfaceLink, OWN_NETWORK_PATHS, readOwnInterfaces } from "./own-network.ts";

export const OWN_USE_NEEDS: HostNeeds = { paths: [...OWN_DISKS_PATHS, ...OWN_NETWORK_PATHS], commands: [] };

/** Why a device is not to be taken from the host. */
export interface OwnUse {
  reason: "RootDisk" | "DiskInUse" | "HostNetwork" | "NotKnown";
  /** A sentence. */
  message: string;
}

/** What the host itself needs its devices for. */
export interface OwnUses {
  /** By PCI address: of the device, and of every bridge and controller that it is behind. */
  pci: ReadonlyMap<string, OwnUse>;
  /** By where it is plugged in ("1-2.3"): of the device, and of every hub that it is behind. */
  usb: ReadonlyMap<string, OwnUse>;
  /** Holds for every storage controller or disk where the host does not tell what its disks are for. */
  disks: OwnUse | null;
  /** The same for network adapters. */
  network: OwnUse | null;
}

/** What must not be given away: the disks that hold the host's system or anything in use, and its network. Never throws for what the host does not tell. */
export async function readOwnUses(
  host: HostChannel,
  interfaces: readonly InterfaceLink[],
  pools: ReadonlyMap<string, string>,
): Promise<OwnUses> {
  const found: Array<{ path: string; use: OwnUse }> = [];
  const disks = await orWhyNot(async () => {
    const { uses, unknown } = await readOwnDisks(host, pools);
    // The system's first: the first one that is found for a device is kept.
    for (const { path, use } of uses.toSorted((a, b) => Number(b.use.system) - Number(a.use.system))) {
      const name = path.slice(path.lastIndexOf("/") + 1);
      found.push({ path, use: { reason: use.system ? "RootDisk" : "DiskInUse", message: `${name} is on it, which ${use.what}.` } });
    }
    return unknown;
  });
  const network = await orWhyNot(async () => {
    const uses = await readOwnInterfaces(
      host,
      interfaces.map(({ name }) => name),
    );
    for (const { name, path } of interfaces) {
      const use = uses.get(name);
      if (use) found.push({ path, use: { reason: "HostNetwork", message: `${name} is on it, which ${use}.` } });
    }
    return null;
  });
  const pci = new Map<string, OwnUse>();
  const usb = new Map<string, OwnUse>();
  for (const { path, use } of found) {
    for (const address of pciAddressesIn(path)) if (!pci.has(address)) pci.set(address, use);
    for (const port of usbPortsIn(path)) if (!usb.has(port)) usb.set(port, use);
  }
  return { pci, usb, disks, network };
}

async function orWhyNot(read: () => Promise<string | null>): Promise<OwnUse | null> {
  try {
    const unknown = await read();
    return unknown === null ? null : { reason: "NotKnown", message: unknown };
  } catch (error) {
    if (!(error instanceof HostReadError)) throw error;
    return { reason: "NotKnown", message: `It is not known what the host uses it for: ${error.message}` };
  }
}
