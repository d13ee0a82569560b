import { FleetError } from "../../platform/errors/fleet-error.ts";
import { ImageCredentialServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/images.ts";
import type { FindCredential } from "../drivers/image-driver.ts";
import type { ControlPlaneConnection } from "./connection.ts";

const DEADLINE_MS = 5000;

/**
 * Asks the control plane for accounts of registries and image servers, each time anew: the agent keeps none. `nodeId` gives null until the
 * node is registered.
 */
export function imageCredentials(connection: ControlPlaneConnection, nodeId: () => string | null): FindCredential {
  return async (registry, signal) => {
    const id = nodeId();
    if (id === null) throw new FleetError("UNAVAILABLE", "The node is not registered yet.");
    const link = connection.linkFor(ImageCredentialServiceDefinition.fullName);
    try {
      return await link.imageCredentials.getImageCredential({ nodeId: id, registry }, { signal, deadlineMs: DEADLINE_MS });
    } catch (thrown) {
      const error = FleetError.from(thrown);
      if (error.code === "NOT_FOUND") return null;
      connection.failed(link, error);
      throw error;
    }
  };
}
