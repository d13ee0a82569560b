import { z } from "zod";
import type { InterfaceAddress } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type HostChannel, type HostCommand, HostReadError } from "../../host/host-channel.ts";

/** iproute2 4.17 (2018) and later write JSON; busybox's `ip` does not. */
export const IP_ADDRESSES: HostCommand = { program: "ip", args: ["-j", "-d", "address", "show"] };

const FAMILIES: Record<string, string> = { inet: "IPv4", inet6: "IPv6" };
const MAX_ADDRESSES = 256;

const link = z.object({
  ifname: z.string(),
  /** The interface below, where it is in the same network namespace. */
  link: z.string().optional().catch(undefined),
  permaddr: z.string().optional().catch(undefined),
  linkinfo: z
    .object({
      info_kind: z.string().optional().catch(undefined),
      /** Of a bond's member. */
      info_slave_data: z.object({ perm_hwaddr: z.string() }).optional().catch(undefined),
      info_data: z.object({ protocol: z.string(), id: z.number().int() }).optional().catch(undefined),
    })
    .optional()
    .catch(undefined),
  addr_info: z
    .array(
      z.object({ family: z.string(), local: z.string(), prefixlen: z.number().int(), scope: z.coerce.string() }).nullable().catch(null),
    )
    .catch([]),
});

/** What only netlink tells of an interface; the rest is in sysfs. */
export interface IpLink {
  /** "veth", "vlan", "tun", …; empty for one of hardware. */
  kind: string;
  /** Undefined also where it is the one that is used, except of a bond's members. */
  permanentMac: string | undefined;
  addresses: InterfaceAddress[];
  vlan: { id: number; protocol: string; parent: string } | undefined;
}

/** By name. Throws HostReadError where there is no `ip`, or one that does not write JSON. */
export async function readIpLinks(host: HostChannel): Promise<Map<string, IpLink>> {
  const { exitCode, stdout, stderr } = await host.exec(IP_ADDRESSES);
  if (exitCode !== 0)
    throw new HostReadError("NOT_SUPPORTED", "ip", `\`ip -j -d address\` does not work here: ${stderr.trim().slice(0, 200)}`);
  const links = new Map<string, IpLink>();
  for (const entry of entriesOf(stdout)) {
    const { success, data } = link.safeParse(entry);
    if (success) links.set(data.ifname, asLink(data));
  }
  return links;
}

function entriesOf(output: string): unknown[] {
  try {
    return z.array(z.unknown()).parse(JSON.parse(output));
  } catch (error) {
    throw new HostReadError("MALFORMED", "ip", "`ip -j -d address` wrote something else than a list in JSON.", error);
  }
}

function asLink({ link: parent, permaddr, linkinfo, addr_info }: z.infer<typeof link>): IpLink {
  const kind = linkinfo?.info_kind ?? "";
  const data = linkinfo?.info_data;
  const addresses = addr_info.slice(0, MAX_ADDRESSES).flatMap((address) => {
    const family = FAMILIES[address?.family ?? ""];
    if (!address || family === undefined) return [];
    return [{ address: address.local, prefixLength: address.prefixlen, family, scope: address.scope }];
  });
  const vlan = kind === "vlan" && data ? { id: data.id, protocol: data.protocol, parent: parent ?? "" } : undefined;
  return { kind, permanentMac: permaddr ?? linkinfo?.info_slave_data?.perm_hwaddr, addresses, vlan };
}
