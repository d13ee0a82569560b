import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { ImageCredentialServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/images.ts";
import { withMessageFields } from "../../kit/grpc/field-names.ts";
import type { RegistryCredentials } from "../services/images/registry-credentials.ts";

/** hypervisor.v1.ImageCredentialService, for the agents' port. */
export function imageCredentialService(credentials: RegistryCredentials): GrpcService {
  return grpcService(ImageCredentialServiceDefinition, {
    getImageCredential: ({ nodeId, registry }, { fleet }) => withMessageFields(() => credentials.forNode(fleet, nodeId, registry)),
  });
}
