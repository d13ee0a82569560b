import { FleetError } from "../../../platform/errors/fleet-error.ts";

export type KubeconfigReason =
  | "KubeconfigTooLarge"
  | "KubeconfigMalformed"
  | "KubeconfigIncomplete"
  | "KubeconfigUnsupported"
  | "ExecPluginRefused"
  | "FileReferenceRefused";

/** INVALID_ARGUMENT on the field "kubeconfig". `place` is where in it, as `users["admin"].user.token`; the message never holds a value. */
export function kubeconfigError(reason: KubeconfigReason, place: string | null, message: string, cause?: unknown): FleetError {
  const details = { field: "kubeconfig", ...(place === null ? {} : { place }) };
  return new FleetError("INVALID_ARGUMENT", message, { reason, details, cause });
}

export function malformed(place: string | null, message: string, cause?: unknown): FleetError {
  return kubeconfigError("KubeconfigMalformed", place, message, cause);
}

export function incomplete(place: string | null, message: string): FleetError {
  return kubeconfigError("KubeconfigIncomplete", place, message);
}
