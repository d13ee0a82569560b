import { type ExecResult, type FileSystemSize, HostReadError, type InterfaceAddress } from "../host-channel.ts";
import { readError, reasonSaid } from "../read-error.ts";

/** For `stat -f -c`: block size, blocks, those that an unprivileged process may use, inodes, free inodes. */
export const STAT_FORMAT = "%S %b %a %c %d";

export function parseFileSystem({ exitCode, stdout, stderr }: ExecResult, path: string): FileSystemSize {
  if (exitCode !== 0) throw readError(reasonSaid(stderr.trim().split(": ").at(-1) ?? ""), path, new Error(stderr));
  const [blockBytes, blocks, available, inodes, freeInodes] = stdout.trim().split(" ").map(Number);
  if ([blockBytes, blocks, available, inodes, freeInodes].some((number) => !Number.isSafeInteger(number))) {
    throw new HostReadError("MALFORMED", path, `stat answers ${JSON.stringify(stdout.trim().slice(0, 80))} about the file system.`);
  }
  const size = (count: number | undefined) => (count ?? 0) * (blockBytes ?? 0);
  const counted = inodes !== undefined && inodes > 0;
  return {
    totalBytes: size(blocks),
    availableBytes: size(available),
    inodes: counted ? { total: inodes, available: freeInodes ?? 0 } : null,
  };
}

/** Of `ip -j address`: those on interfaces that are up. */
export function parseAddresses({ exitCode, stdout, stderr }: ExecResult): InterfaceAddress[] {
  let links: unknown;
  try {
    links = exitCode === 0 ? JSON.parse(stdout || "[]") : null;
  } catch (error) {
    throw new HostReadError("MALFORMED", "ip", "`ip -j address` writes no JSON on this host.", error);
  }
  if (!Array.isArray(links)) throw new HostReadError("UNREADABLE", "ip", `\`ip -j address\` failed: ${stderr.trim()}`);
  const addresses: InterfaceAddress[] = [];
  for (const link of links as IpLink[]) {
    if (!link.flags?.includes("UP")) continue;
    for (const { family, local } of link.addr_info ?? []) {
      if (typeof local !== "string" || typeof link.ifname !== "string") continue;
      const loopback = link.flags.includes("LOOPBACK");
      addresses.push({ interface: link.ifname, address: local, family: family === "inet6" ? "IPv6" : "IPv4", loopback });
    }
  }
  return addresses;
}

interface IpLink {
  ifname?: string;
  flags?: string[];
  addr_info?: Array<{ family?: string; local?: string }>;
}
