import { connect } from "node:net";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { asTransport, type Transport } from "./transport.ts";

/** Opens the first of the sockets at which a daemon listens. Throws UNAVAILABLE, with what to do, for none; CANCELLED when aborted. */
export async function openUnixSocket(paths: readonly string[], signal: AbortSignal): Promise<Transport> {
  let failure: FleetError | undefined;
  for (const path of paths) {
    try {
      return await connected(path, signal);
    } catch (error) {
      if (signal.aborted) throw FleetError.from(signal.reason);
      // What is there but may not be used says more than what is not there.
      if (failure === undefined || !isAbsent(error)) failure = explain(path, error);
    }
  }
  throw failure ?? new FleetError("UNAVAILABLE", "No socket of libvirt's daemon is known.");
}

function connected(path: string, signal: AbortSignal): Promise<Transport> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const socket = connect({ path });
    const onAbort = () => socket.destroy(new Error("aborted"));
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", (error) => {
      signal.removeEventListener("abort", onAbort);
      reject(error);
    });
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(asTransport(socket));
    });
  });
}

function isAbsent(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}

const REMEDIES: Record<string, string> = {
  ENOENT: "there is no such socket. Is libvirt's daemon installed and running?",
  ECONNREFUSED: "nothing listens there. Is libvirt's daemon running?",
  EACCES: "this user may not open it. Add the user to the group libvirt, or name a socket that it may open.",
  ENOTSOCK: "this is no socket.",
};

function explain(path: string, error: unknown): FleetError {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  return new FleetError("UNAVAILABLE", `${path}: ${REMEDIES[code] ?? `cannot be opened (${code}).`}`, { cause: error });
}
