import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { LibvirtError, type LibvirtErrorName } from "../../libvirt/errors.ts";

const MAX_MESSAGE = 600;
/** Another try later may do. */
const MAY_PASS = new Set<LibvirtError["codeName"]>(["OPERATION_TIMEOUT", "RESOURCE_BUSY", "NO_CLIENT", "NO_SERVER", "RPC"]);

/** What libvirt refused, as an error of ours. `task` goes on behind "libvirt could not"; FAILED_PRECONDITION LibvirtRefused. */
export function driverError(error: unknown, task: string): FleetError {
  if (!(error instanceof LibvirtError)) {
    const known = FleetError.from(error);
    if (known.reason !== "LibvirtDeadline") return known;
    // Nobody knows whether it took effect: like a connection that was lost, it is worth another try.
    return new FleetError("UNAVAILABLE", known.message, { reason: "LibvirtSlow", cause: known });
  }
  const message = `libvirt could not ${task}: ${shortened(error.message)}`;
  // A process that the kernel does not end at once (in libvirt's words) is gone a little later.
  if (MAY_PASS.has(error.codeName) || /failed to terminate process|resource busy/i.test(error.message)) {
    return new FleetError("UNAVAILABLE", message, { reason: "LibvirtBusy", cause: error });
  }
  return new FleetError("FAILED_PRECONDITION", message, {
    reason: "LibvirtRefused",
    details: { libvirtCode: error.codeName },
    cause: error,
  });
}

/** Calls libvirt; what it refuses is told by what was to be done. */
export async function attempt<T>(task: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw driverError(error, task);
  }
}

/** Null where libvirt says that there is none (one of `codes`). */
export async function orNull<T>(answer: Promise<T>, ...codes: LibvirtErrorName[]): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (LibvirtError.isCode(error, ...codes)) return null;
    throw error;
  }
}

/** The end of a long message: there QEMU says what was wrong. */
function shortened(message: string): string {
  const line = message.replace(/\s+/g, " ").trim();
  return line.length <= MAX_MESSAGE ? line : `… ${line.slice(-MAX_MESSAGE)}`;
}
