import { FleetError } from "../../../../platform/errors/fleet-error.ts";

/**
 * A resourceVersion as a number. The API's contract calls it opaque, but every API server over etcd (or kine) gives its revision, which
 * grows with each change; later versions of the contract promise the order.
 *
 * @throws FleetError UNAVAILABLE (reason NotKubernetes) for anything else.
 */
export function toRevision(resourceVersion: string | undefined): number {
  const revision = Number(resourceVersion);
  if (resourceVersion === undefined || !/^\d+$/.test(resourceVersion) || !Number.isSafeInteger(revision)) {
    throw new FleetError("UNAVAILABLE", "The cluster's API gives no resource version that can be watched from.", {
      reason: "NotKubernetes",
    });
  }
  return revision;
}
