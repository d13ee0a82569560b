import type { HostChannel } from "./host/host-channel.ts";

export interface NetworkState {
  available: boolean;
  /** One word in CamelCase. */
  reason: string;
  message: string;
}

export const ROUTES = ["/proc/net/route", "/proc/net/ipv6_route"] as const;

/** IPv4 and IPv6 addresses that only reach the next cable. */
const LINK_LOCAL = /^(?:169\.254\.|fe80:)/i;
/** Flags of a route: it is up; it refuses its destination. */
const RTF_UP = 0x1;
const RTF_REJECT = 0x200;

/**
 * Whether another host can be reached in principle: an interface that is up, other than loopback, has an address of its own and a route
 * leads through it. A default route is not asked for: hosts on an isolated network have none. Throws HostReadError.
 */
export async function readNetwork(host: HostChannel): Promise<NetworkState> {
  const addressed = new Set<string>();
  for (const { interface: name, address, loopback } of await host.addresses()) {
    if (!loopback && !LINK_LOCAL.test(address)) addressed.add(name);
  }
  if (addressed.size === 0)
    return { available: false, reason: "NoAddress", message: "No interface but loopback is up and has an address." };
  const routed = await routedInterfaces(host);
  const usable = [...addressed].filter((name) => routed.has(name)).sort();
  if (usable.length === 0) return { available: false, reason: "NoRoute", message: "No route leads through an interface with an address." };
  return { available: true, reason: "NetworkReady", message: `Reachable through ${usable.join(", ")}.` };
}

/** The columns of the two files are described in the kernel's fib_trie.c and ipv6/route.c. */
async function routedInterfaces(host: HostChannel): Promise<Set<string>> {
  const names = new Set<string>();
  for (const line of (await host.read(ROUTES[0])).split("\n").slice(1)) {
    const [name, , , flags] = line.trim().split(/\s+/);
    if (name && isUsable(flags)) names.add(name);
  }
  // Missing where IPv6 is off.
  const v6 = await host.read(ROUTES[1]).catch(() => "");
  for (const line of v6.split("\n")) {
    const columns = line.trim().split(/\s+/);
    const [destination = "", , , , , , , , flags, name] = columns;
    // Link-local and multicast routes are there on every interface.
    if (name && isUsable(flags) && !/^(?:fe80|ff)/.test(destination)) names.add(name);
  }
  return names;
}

function isUsable(flags: string | undefined): boolean {
  const bits = Number.parseInt(flags ?? "", 16);
  return (bits & RTF_UP) !== 0 && (bits & RTF_REJECT) === 0;
}
