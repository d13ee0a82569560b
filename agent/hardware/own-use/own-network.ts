import type { HostChannel } from "../../host/host-channel.ts";
import { ifPresent, mapBounded } from "../read-optional.ts";

const NET = "/sys/class/net";
const MOST_INTERFACES = 4096;
const AT_ONCE = 16;

export const NETWORK_LINKS_PATHS = [NET, `${NET}/*`];
export const OWN_NETWORK_PATHS = [
  ...NETWORK_LINKS_PATHS,
  ...["ifindex", "iflink", "master"].map((file) => `${NET}/*/${file}`),
  "/proc/net/route",
  "/proc/net/if_inet6",
];

/** An interface and the sysfs path that its link names: it leads through the devices that it is on. */
export interface InterfaceLink {
  name: string;
  path: string;
}

/** Throws HostReadError; none on a host without a network. */
export async function readInterfaceLinks(host: HostChannel): Promise<InterfaceLink[]> {
  const names = ((await ifPresent(host.list(NET))) ?? []).slice(0, MOST_INTERFACES);
  const links = await mapBounded(names, AT_ONCE, async (name) => ({
    name,
    path: (await ifPresent(host.readLink(`${NET}/${name}`))) ?? "",
  }));
  return links.filter(({ path }) => path !== "");
}

/** What each interface that the host or its guests depend on does, such as "has a route of the host", by name. Throws HostReadError. */
export async function readOwnInterfaces(host: HostChannel, names: readonly string[]): Promise<Map<string, string>> {
  const uses = new Map<string, string>();
  const numbers = await mapBounded(names, AT_ONCE, async (name) => {
    const [index, lower, master] = await Promise.all([
      ifPresent(host.read(`${NET}/${name}/ifindex`)),
      ifPresent(host.read(`${NET}/${name}/iflink`)),
      ifPresent(host.readLink(`${NET}/${name}/master`)),
    ]);
    return { name, index: index?.trim(), lower: lower?.trim(), master: master?.slice(master.lastIndexOf("/") + 1) };
  });
  for (const { name, master } of numbers) if (master) uses.set(name, `is a member of ${master}`);
  for (const upper of numbers) {
    // A VLAN, macvlan or macvtap names the interface that it is on; one that stands alone names itself.
    const lower = numbers.find(({ index }) => index !== undefined && index === upper.lower && index !== upper.index);
    if (lower) uses.set(lower.name, `carries ${upper.name}`);
  }
  for (const name of ipv6Interfaces((await ifPresent(host.read("/proc/net/if_inet6"))) ?? "")) uses.set(name, "has an address of the host");
  for (const name of routedInterfaces(await host.read("/proc/net/route"))) uses.set(name, "has a route of the host");
  return uses;
}

/** Of /proc/net/route, below its head: an interface with an IPv4 address has the route to its network there. */
function routedInterfaces(text: string): string[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => line.trim().split(/\s+/)[0] || []);
}

const LINK_LOCAL = "20";
const OF_THE_HOST_ALONE = "10";

/** Of /proc/net/if_inet6 (address, index, prefix, scope, flags, name): every interface that is up has a link-local one, which tells nothing. */
function ipv6Interfaces(text: string): string[] {
  return text.split("\n").flatMap((line) => {
    const [, , , scope, , name] = line.trim().split(/\s+/);
    return name && scope !== LINK_LOCAL && scope !== OF_THE_HOST_ALONE ? [name] : [];
  });
}
