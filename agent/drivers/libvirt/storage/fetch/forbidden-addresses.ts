import { BlockList, isIP } from "node:net";

/**
 * Addresses that somebody who may create instances must not make the agent ask: the host's own services, its link, multicast, and where
 * clouds hand out credentials. Private networks are not among them: that is where image servers are.
 */
const FORBIDDEN = new BlockList();
for (const [network, prefix] of [
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["192.0.0.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  // Metadata services that are not link-local: Alibaba's, Azure's.
  ["100.100.100.200", 32],
  ["168.63.129.16", 32],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, "ipv4");
}
for (const [network, prefix] of [
  // Unspecified, loopback, and IPv4 addresses in a form that is no longer used.
  ["::", 96],
  ["fe80::", 10],
  ["fec0::", 10],
  ["ff00::", 8],
  // Tunnels (Teredo, 6to4), which end at an IPv4 address of the sender's choice.
  ["2001::", 32],
  ["2002::", 16],
  // Metadata services: Amazon's, Google's.
  ["fd00:ec2::254", 128],
  ["fd20:ce::254", 128],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, "ipv6");
}
const NAT64 = new BlockList();
NAT64.addSubnet("64:ff9b::", 96, "ipv6");

export function isForbidden(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return FORBIDDEN.check(address, "ipv4");
  if (family !== 6) return true;
  const plain = address.replace(/%.*$/, "");
  // IPv4 addresses within IPv6 ones (::ffff:127.0.0.1) are known to BlockList; behind a translator they have to be taken out.
  if (NAT64.check(plain, "ipv6")) return isForbidden(lastFourBytes(plain));
  return FORBIDDEN.check(plain, "ipv6");
}

/** The address that a URL's host name is, without an IPv6 address's brackets; null for a name. */
export function addressInHost(hostname: string): string | null {
  const bare = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 ? null : bare;
}

/** As URL writes an IPv6 address: at the end two groups of up to four digits, unless zeros are left out there. */
function lastFourBytes(address: string): string {
  const { hostname } = new URL(`http://[${address}]`);
  const groups = hostname.slice(1, -1).split("::");
  const after = (groups[1] ?? groups[0] ?? "").split(":").filter((group) => group !== "");
  const [high, low] = [after.at(-2) ?? "0", after.at(-1) ?? "0"].map((group) => Number.parseInt(group, 16));
  return [high ?? 0, low ?? 0].flatMap((group) => [group >> 8, group & 0xff]).join(".");
}
