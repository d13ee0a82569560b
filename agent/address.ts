import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { FleetError } from "../platform/errors/fleet-error.ts";
import { parseHostPort } from "../platform/grpc/listen-address.ts";

export interface AddressChoice {
  /** A name or an address, as configured. */
  configured: string | undefined;
  /** Where the agent listens. */
  listenHost: string;
  /** host:port */
  controlPlane: string;
}

/**
 * The IP address by which the control plane reaches this agent: the configured one, the one it listens on, or, where it listens on
 * all, the one from which it would speak to the control plane. Throws FAILED_PRECONDITION where there is none.
 */
export async function ownAddress({ configured, listenHost, controlPlane }: AddressChoice): Promise<string> {
  if (configured !== undefined) return resolve(configured);
  const listening = await resolve(listenHost);
  if (listening !== "0.0.0.0" && listening !== "::") return listening;
  const { host, port } = parseHostPort(controlPlane);
  return sourceAddress(await resolve(host), port);
}

async function resolve(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    throw new FleetError("FAILED_PRECONDITION", `The name ${host} cannot be resolved.`, { cause });
  }
}

/** Connecting a UDP socket sends nothing: the kernel just picks the source address of the route. */
function sourceAddress(address: string, port: number): Promise<string> {
  const socket = createSocket(isIP(address) === 6 ? "udp6" : "udp4");
  return new Promise<string>((fulfil, reject) => {
    socket.once("error", reject);
    socket.connect(port, address, () => fulfil(socket.address().address));
  })
    .catch((cause: unknown) => {
      throw new FleetError("FAILED_PRECONDITION", `No route leads to the control plane at ${address}.`, { cause });
    })
    .finally(() => socket.close());
}
