import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { InstanceReportServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { InstanceReports } from "../services/instance-reports.ts";

/** hypervisor.v1.InstanceReportService, for the agents' port. */
export function instanceReportService(reports: InstanceReports): GrpcService {
  return grpcService(InstanceReportServiceDefinition, {
    reportInstances: async (request, { fleet }) => ({ fullWanted: await reports.report(fleet, request) }),
  });
}
