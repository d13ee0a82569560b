import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { EvacuationServiceDefinition, EvacuationMode as Mode } from "../../../schema/generated/proto/hypervisor/v1/evacuation.ts";
import { withMessageFields } from "../../kit/grpc/field-names.ts";
import type { EvacuationMode } from "../services/evacuation/evacuation-types.ts";
import type { Evacuations } from "../services/evacuation/evacuations.ts";

/** hypervisor.v1.EvacuationService, for the control plane's other parts, on the agents' port. */
export function evacuationService(evacuations: Evacuations): GrpcService {
  return grpcService(EvacuationServiceDefinition, {
    evacuate: (request, { fleet }) => withMessageFields(() => evacuations.evacuate(fleet, { ...request, mode: modeOf(request.mode) })),
    restore: (request, { fleet }) => withMessageFields(() => evacuations.restore(fleet, request)),
    countInstances: ({ nodeId }, { fleet }) => withMessageFields(() => evacuations.count(fleet, nodeId)),
  });
}

function modeOf(mode: Mode): EvacuationMode {
  if (mode === Mode.MIGRATE) return "MIGRATE";
  if (mode === Mode.STOP) return "STOP";
  throw invalidArgument("mode", "MIGRATE or STOP is needed.");
}
