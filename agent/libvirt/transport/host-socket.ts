import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { type HostChannel, HostReadError } from "../../host/host-channel.ts";
import { asTransport, type Transport } from "./transport.ts";

/** As openUnixSocket, on another host: the first of its sockets at which a daemon listens. */
export async function openHostSocket(
  host: Pick<HostChannel, "connect">,
  paths: readonly string[],
  signal: AbortSignal,
): Promise<Transport> {
  let failure: HostReadError | undefined;
  for (const path of paths) {
    try {
      return asTransport(await host.connect(path, signal));
    } catch (error) {
      if (signal.aborted) throw FleetError.from(signal.reason);
      if (!(error instanceof HostReadError)) throw error;
      // What is there but may not be used says more than what is not there.
      if (failure === undefined || error.reason !== "NOT_PRESENT") failure = error;
      if (error.reason === "HOST_UNREACHABLE") break;
    }
  }
  throw explain(failure);
}

const REMEDIES: Partial<Record<HostReadError["reason"], string>> = {
  NOT_PRESENT: "Is libvirt's daemon installed and running there?",
  NO_PERMISSION: "Add the account to the group libvirt there.",
};

function explain(failure: HostReadError | undefined): FleetError {
  if (failure === undefined) return new FleetError("UNAVAILABLE", "No socket of libvirt's daemon is known.");
  const remedy = REMEDIES[failure.reason];
  const message = remedy === undefined ? failure.message : `${failure.message} ${remedy}`;
  return new FleetError("UNAVAILABLE", message, {
    reason: failure.reason === "HOST_UNREACHABLE" ? "HostUnreachable" : undefined,
    cause: failure,
  });
}
