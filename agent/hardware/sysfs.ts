import { type HostChannel, HostReadError } from "../host/host-channel.ts";

/** Most kernel objects have only some of the attributes: what these do not find is undefined, whatever the reason. */
async function unlessUnreadable<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof HostReadError) return undefined;
    throw error;
  }
}

/** A file's text without white space around it; undefined where it cannot be read or holds nothing. */
export async function textOf(host: HostChannel, path: string): Promise<string | undefined> {
  const text = await unlessUnreadable(() => host.read(path));
  return text?.trim() || undefined;
}

/** A whole number, decimal, not negative: what the kernel writes for "unknown" (-1, 4294967295) is undefined too. */
export async function countOf(host: HostChannel, path: string): Promise<number | undefined> {
  const text = await textOf(host, path);
  return text !== undefined && /^\d+$/.test(text) && text !== "4294967295" ? Number(text) : undefined;
}

/** Where a link points to, as it is written there. */
export function linkOf(host: HostChannel, path: string): Promise<string | undefined> {
  return unlessUnreadable(() => host.readLink(path));
}

/** The last name of where a link points to: a driver, a device. */
export async function linkedName(host: HostChannel, path: string): Promise<string | undefined> {
  return (await linkOf(host, path))?.split("/").at(-1);
}

/** Empty where there is no such directory. */
export async function namesIn(host: HostChannel, path: string): Promise<string[]> {
  return (await unlessUnreadable(() => host.list(path))) ?? [];
}

/** The PCI device that a device of sysfs is on or behind, from where its link points to: "../devices/pci0000:00/0000:00:03.0/virtio2/net/eth0". */
export function pciAddressIn(link: string): string | undefined {
  return link.split("/").findLast((part) => /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/.test(part));
}
