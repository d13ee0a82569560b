import { BlockList, isIP } from "node:net";

/** Where cloud providers answer machines with credentials, and where nothing of a cluster can be. */
const REFUSED = new BlockList();
REFUSED.addSubnet("0.0.0.0", 8);
REFUSED.addSubnet("169.254.0.0", 16);
REFUSED.addSubnet("224.0.0.0", 3);
REFUSED.addAddress("100.100.100.200");
REFUSED.addAddress("168.63.129.16");
REFUSED.addAddress("192.0.0.192");
REFUSED.addAddress("::", "ipv6");
REFUSED.addSubnet("fe80::", 10, "ipv6");
REFUSED.addSubnet("ff00::", 8, "ipv6");
REFUSED.addAddress("fd00:ec2::254", "ipv6");
REFUSED.addAddress("fd20:ce::254", "ipv6");

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8);
LOOPBACK.addAddress("::1", "ipv6");

/** IPv6 addresses with an IPv4 address in their last 32 bits: mapped, compatible, NAT64. */
const EMBEDDING = new BlockList();
EMBEDDING.addSubnet("::", 96, "ipv6");
EMBEDDING.addSubnet("::ffff:0:0", 96, "ipv6");
EMBEDDING.addSubnet("64:ff9b::", 96, "ipv6");

export interface ProbeRules {
  /** This machine's own addresses may be asked: only for a cluster whose API server is on this machine, too. */
  loopback: boolean;
}

/** Why an address must not be asked; null where it may. What names it, in a cluster, is not trusted. */
export function addressRefusal(address: string, { loopback }: ProbeRules): string | null {
  const family = isIP(address);
  if (family === 0) return "It is no IP address.";
  const type = family === 6 ? "ipv6" : "ipv4";
  if (LOOPBACK.check(address, type)) return loopback ? null : "It is this machine's own address.";
  const embedded = family === 6 && EMBEDDING.check(address, "ipv6") ? embeddedAddress(address) : null;
  if (embedded !== null && !REFUSED.check(address, "ipv6")) return addressRefusal(embedded, { loopback });
  return REFUSED.check(address, type) ? "Link-local, metadata and multicast addresses are not asked." : null;
}

/** Whether a server's URL is on this machine. */
export function isLoopbackServer(server: string): boolean {
  const host = new URL(server).hostname.replace(/^\[|\]$/g, "");
  if (host === "localhost") return true;
  return isIP(host) !== 0 && LOOPBACK.check(host, isIP(host) === 6 ? "ipv6" : "ipv4");
}

function embeddedAddress(address: string): string {
  const [, high = "0", low = "0"] =
    /([0-9a-f]{0,4}):([0-9a-f]{0,4})$/.exec(new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname.slice(1, -1)) ?? [];
  const bits = (Number.parseInt(high || "0", 16) << 16) | Number.parseInt(low || "0", 16);
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join(".");
}
