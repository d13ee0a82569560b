import type { Duplex } from "node:stream";
import type {
  BeginSourceRequest,
  BeginSourceResponse,
  CheckDestinationRequest,
  CheckDestinationResponse,
  ConfirmSourceRequest,
  ConfirmSourceResponse,
  DescribeSourceResponse,
  FinishDestinationRequest,
  FinishDestinationResponse,
  InspectMigrationRequest,
  InspectMigrationResponse,
  MigrationProgress,
  PerformSourceRequest,
  PrepareDestinationRequest,
  PrepareDestinationResponse,
} from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { InstancePlan } from "./instance-plan.ts";

export type MigrationChannel = "memory" | "disks";

/** Carries one connection of the guest's hypervisor to the destination, until both directions have ended. Throws where it breaks. */
export type CarryConnection = (channel: MigrationChannel, connection: Duplex, signal: AbortSignal) => Promise<void>;

/**
 * Live migration. Steps, their order and their errors as in migration.proto. What an attempt ties to a connection or a process is lost with
 * this agent; what is left then is put in order before anything else is answered about the instance.
 */
export interface MigrationDriver {
  describe(plan: InstancePlan, signal: AbortSignal): Promise<DescribeSourceResponse>;
  check(request: CheckDestinationRequest, signal: AbortSignal): Promise<CheckDestinationResponse>;
  /** `onEnded` is called once, when this side's part in the attempt is over, however it ended. */
  begin(request: BeginSourceRequest, onEnded: () => void, signal: AbortSignal): Promise<BeginSourceResponse>;
  prepare(request: PrepareDestinationRequest, signal: AbortSignal): Promise<PrepareDestinationResponse>;
  /** A connection to what waits for the guest here. Throws UNAUTHENTICATED where the ticket is not that of a prepared migration. */
  accept(migrationId: string, ticket: string, channel: string): Promise<Duplex>;
  /** Gives the cookie for `finish`. Whatever it throws, the guest runs on here, or does as soon as libvirt answers again. */
  perform(
    request: PerformSourceRequest,
    carry: CarryConnection,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string>;
  finish(request: FinishDestinationRequest, signal: AbortSignal): Promise<FinishDestinationResponse>;
  confirm(request: ConfirmSourceRequest, signal: AbortSignal): Promise<ConfirmSourceResponse>;
  inspect(request: InspectMigrationRequest, signal: AbortSignal): Promise<InspectMigrationResponse>;
}
