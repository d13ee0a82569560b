import { FleetError } from "../../../../../platform/errors/fleet-error.ts";

/** FAILED_PRECONDITION ImageMalformed, for a packed image that cannot be unpacked to its end. */
export function damagedArchive(why: string, cause?: unknown): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The image cannot be unpacked: ${why}. Is it whole?`, {
    reason: "ImageMalformed",
    details: { field: "spec.image" },
    cause,
  });
}
