import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { LibvirtConnection } from "./connection.ts";
import { LibvirtError } from "./errors.ts";
import type { KeepaliveLimits } from "./keepalive.ts";
import { CallNotSent } from "./pending-call.ts";
import type { Frame } from "./protocol/frame.ts";
import { openHostSocket } from "./transport/host-socket.ts";
import type { LibvirtTarget } from "./transport/libvirt-uri.ts";
import type { Transport } from "./transport/transport.ts";
import { openUnixSocket } from "./transport/unix-socket.ts";

export interface OpenOptions {
  target: LibvirtTarget;
  /** The host on which the daemon is; this machine by default. */
  host?: Pick<HostChannel, "connect"> | undefined;
  callTimeoutMs: number;
  /** Null for a connection whose reading may be paused: neither side could tell that from a dead one. */
  keepalive: KeepaliveLimits | null;
  onEvent?: (event: Frame) => void;
  /** For all of it. */
  timeoutMs: number;
  signal: AbortSignal;
}

const AUTH_NONE = 0;
const AUTH_POLKIT = 2;
const FEATURE_KEEPALIVE = 10;

/** Reaches the daemon, signs in and opens the hypervisor. Leaves nothing behind when it throws. */
export async function openConnection(options: OpenOptions): Promise<LibvirtConnection> {
  const { timeoutMs } = options;
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]);
  let connection: LibvirtConnection | undefined;
  try {
    connection = new LibvirtConnection(await openTransport(options, signal), options);
    await signIn(connection, signal);
    if (options.keepalive !== null) await announceKeepalive(connection, options.keepalive, signal);
    await connection.call("connectOpen", { name: options.target.openName }, { signal });
    return connection;
  } catch (error) {
    // What ended the connection says more than that the call on it failed.
    const reason = (error instanceof CallNotSent || isLost(error)) && error.cause instanceof Error ? error.cause : error;
    await connection?.close();
    if (!options.signal.aborted && signal.aborted) {
      throw new FleetError("UNAVAILABLE", `libvirt's daemon did not answer within ${timeoutMs / 1000} s.`, { cause: reason });
    }
    throw reason;
  }
}

function isLost(error: unknown): error is FleetError {
  return error instanceof FleetError && error.reason === "LibvirtConnectionLost";
}

async function openTransport({ target, host }: OpenOptions, signal: AbortSignal): Promise<Transport> {
  const { socketPaths } = target.way;
  return host === undefined ? await openUnixSocket(socketPaths, signal) : await openHostSocket(host, socketPaths, signal);
}

async function signIn(connection: LibvirtConnection, signal: AbortSignal): Promise<void> {
  const { types } = await connection.call("authList", {}, { signal });
  if (types.length === 0 || types.includes(AUTH_NONE)) return;
  if (!types.includes(AUTH_POLKIT)) {
    throw new FleetError(
      "FAILED_PRECONDITION",
      'libvirt\'s daemon wants SASL, which is not supported: set auth_unix_rw = "none" or "polkit" in its configuration.',
      { reason: "LibvirtAuthentication" },
    );
  }
  try {
    await connection.call("authPolkit", {}, { signal });
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    throw new FleetError(
      "FAILED_PRECONDITION",
      "polkit does not let this user manage libvirt: add the user to the group libvirt, allow org.libvirt.unix.manage by a polkit rule, " +
        'or set auth_unix_rw = "none" and unix_sock_group in the daemon\'s configuration.',
      { reason: "LibvirtAuthentication", cause: error },
    );
  }
}

/** The daemon pings from then on, too. */
async function announceKeepalive(connection: LibvirtConnection, limits: KeepaliveLimits, signal: AbortSignal): Promise<void> {
  const { supported } = await connection.call("connectSupportsFeature", { feature: FEATURE_KEEPALIVE }, { signal });
  if (supported) connection.keepAlive(limits);
}
