import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import { type CertificateResponse, EnrollmentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { Enrolled, Enrollment } from "../services/enrollment.ts";

/** hypervisor.v1.EnrollmentService, for the agents' port. */
export function enrollmentService(enrollment: Enrollment): GrpcService {
  const answer = ({ agentId, certificate }: Enrolled): CertificateResponse => ({
    agentId,
    certificate: certificate.certificateDer,
    caCertificate: enrollment.caCertificateDer,
    notAfter: certificate.notAfter,
  });
  return grpcService(EnrollmentServiceDefinition, {
    join: async (request, { fleet }) => answer(await enrollment.join(fleet, request.token, request.certificateRequest)),
    renew: async (request, { fleet }) => answer(await enrollment.renew(fleet, request.certificateRequest)),
  });
}
