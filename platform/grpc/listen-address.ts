import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { invalidArgument } from "../errors/fleet-error.ts";

export interface HostPort {
  /** A name or an address, without brackets. */
  host: string;
  port: number;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** `host:port` or `[v6]:port`; a port of 0 is any free one. Throws INVALID_ARGUMENT (field `address`). */
export function parseHostPort(address: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^[\]:\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535 || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw invalidArgument("address", `${JSON.stringify(address)} is not host:port (an IPv6 address stands in brackets).`);
  }
  return { host, port };
}

/** The reverse of `parseHostPort`. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for a loopback address, and for the name `localhost`. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host.toLowerCase() === "localhost" : loopback.check(host, family === 6 ? "ipv6" : "ipv4");
}

/** True where all that the name stands for on this machine is loopback. */
export async function resolvesToLoopback(host: string): Promise<boolean> {
  if (isIP(host) !== 0) return isLoopback(host);
  const found = await lookup(host, { all: true }).catch(() => []);
  return found.length > 0 && found.every(({ address }) => isLoopback(address));
}
