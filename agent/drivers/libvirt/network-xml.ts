import { BlockList, isIP } from "node:net";
import { attribute, buildXml, element, elements, parseXml, text, type XmlElement } from "./xml.ts";

/** What a libvirt network's XML says. */
export interface NetworkFacts {
  name: string;
  /** In CIDR, such as 192.168.122.0/24. */
  subnets: readonly string[];
  /** Whether libvirt itself gives addresses there: their leases can be read. */
  dhcp: boolean;
}

export function readNetworkXml(xml: string): NetworkFacts {
  const network = parseXml(xml, "network");
  const addresses = elements(network, "ip");
  return {
    name: text(element(network, "name")),
    subnets: addresses.flatMap((address) => subnetOf(address) ?? []),
    dhcp: addresses.some((address) => element(address, "dhcp") !== null),
  };
}

/** A network behind the host's own addresses, with DHCP: `third` is the third number of 192.168.x.0/24. */
export function natNetworkXml(name: string, third: number): string {
  const prefix = `192.168.${third}`;
  return buildXml({
    network: {
      name,
      forward: { "@mode": "nat" },
      // libvirt finds a name for the bridge.
      bridge: { "@stp": "on", "@delay": 0 },
      ip: {
        "@address": `${prefix}.1`,
        "@netmask": "255.255.255.0",
        dhcp: { range: { "@start": `${prefix}.2`, "@end": `${prefix}.254` } },
      },
    },
  });
}

/** Whether an address of 192.168.x.0/24 is in one of the subnets, or the other way round. */
export function overlaps(third: number, subnets: readonly string[]): boolean {
  return subnets.some((subnet) => {
    const [address = "", prefix = ""] = subnet.split("/");
    if (isIP(address) !== 4) return false;
    const other = new BlockList();
    other.addSubnet(address, Number(prefix), "ipv4");
    const own = new BlockList();
    own.addSubnet(`192.168.${third}.0`, 24, "ipv4");
    return other.check(`192.168.${third}.1`) || own.check(address);
  });
}

/** The subnet in its one usual spelling; null for what is none: "10.1.2.3/8" is 10.0.0.0/8. */
export function canonicalSubnet(subnet: string): string | null {
  const [address = "", prefix = "", ...rest] = subnet.split("/");
  const bits = isIP(address) === 6 ? 128 : 32;
  if (isIP(address) === 0 || rest.length > 0 || !/^\d{1,3}$/.test(prefix) || Number(prefix) > bits) return null;
  const groupBits = bits === 128 ? 16 : 8;
  const groups = (bits === 128 ? ipv6Groups(address) : address.split(".").map(Number)).map((group, index) => {
    const kept = Math.min(groupBits, Math.max(0, Number(prefix) - index * groupBits));
    return group & (2 ** groupBits - 2 ** (groupBits - kept));
  });
  const base = bits === 128 ? shortIpv6(groups) : groups.join(".");
  return `${base}/${Number(prefix)}`;
}

function subnetOf(ip: XmlElement): string | null {
  const address = attribute(ip, "address");
  const netmask = attribute(ip, "netmask");
  const prefix = attribute(ip, "prefix") || (netmask === "" ? "" : String(prefixLength(netmask)));
  return canonicalSubnet(`${address}/${prefix}`);
}

function prefixLength(netmask: string): number {
  return netmask
    .split(".")
    .map((part) => Number(part).toString(2).padStart(8, "0"))
    .join("")
    .replace(/0+$/, "").length;
}

function ipv6Groups(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").flatMap(ipv6Group));
  if (tail === undefined) return groups(head);
  const [before, after] = [groups(head), groups(tail)];
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The end may be written as an IPv4 address. */
function ipv6Group(group: string): number[] {
  if (!group.includes(".")) return [Number.parseInt(group, 16)];
  const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
  return [a * 256 + b, c * 256 + d];
}

function shortIpv6(groups: readonly number[]): string {
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}
