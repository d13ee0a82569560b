import { FleetError } from "../../../platform/errors/fleet-error.ts";

/** What this host cannot do. */
export function precondition(reason: string, message: string, details: Record<string, unknown> = {}): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason, details });
}

/** What no host could do. */
export function invalid(reason: string, field: string, message: string): FleetError {
  return new FleetError("INVALID_ARGUMENT", message, { reason, details: { field } });
}
