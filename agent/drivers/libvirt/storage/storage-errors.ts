import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { driverError } from "../driver-errors.ts";

/** What libvirt refused, as an error of ours. `task` goes on behind "libvirt could not". */
export function storageError(error: unknown, task: string): FleetError {
  if (!(error instanceof LibvirtError)) {
    const known = FleetError.from(error);
    // Nobody knows whether it took effect: like a connection that was lost, it is worth another look.
    return known.code === "DEADLINE_EXCEEDED"
      ? new FleetError("UNAVAILABLE", known.message, { reason: "LibvirtSlow", cause: known })
      : known;
  }
  if (/no space left|not enough space|disk quota exceeded/i.test(error.message)) return noSpace(`libvirt could not ${task}`, error);
  return driverError(error, task);
}

export function noSpace(what: string, cause?: unknown): FleetError {
  const message = `${what}: there is no space left in the host's storage pool. Free some, or place the instance elsewhere.`;
  return new FleetError("FAILED_PRECONDITION", message, { reason: "InsufficientDisk", cause });
}

/**
 * Whether libvirt may allow it a moment later: a volume is still being made by a call that was given up, or a pool was stopped or removed
 * by somebody else. libvirt has no codes of their own for these.
 */
export function mayPass(error: unknown): boolean {
  return LibvirtError.isCode(error, "OPERATION_INVALID", "NO_STORAGE_POOL");
}
