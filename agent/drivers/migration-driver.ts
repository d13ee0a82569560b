import type { Duplex } from "node:stream";
import type {
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
import type { Ref } from "./instance-driver.ts";

/** Connects one channel of a migration with the destination's agent. */
export type DialTunnel = (channel: "memory" | "disks", signal: AbortSignal) => Promise<Duplex>;

/** Live migration. Steps, their order and their errors as in migration.proto. */
export interface MigrationDriver {
  describe(ref: Ref, signal: AbortSignal): Promise<DescribeSourceResponse>;
  check(request: CheckDestinationRequest, signal: AbortSignal): Promise<CheckDestinationResponse>;
  prepare(request: PrepareDestinationRequest, signal: AbortSignal): Promise<PrepareDestinationResponse>;
  /** A connection to what waits for the guest here. Throws UNAUTHENTICATED where the ticket is not that of a prepared migration. */
  accept(migrationId: string, ticket: string, channel: string): Promise<Duplex>;
  /** Gives the cookie for `finish`. */
  perform(
    request: PerformSourceRequest,
    dial: DialTunnel,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string>;
  finish(request: FinishDestinationRequest, signal: AbortSignal): Promise<FinishDestinationResponse>;
  confirm(request: ConfirmSourceRequest, signal: AbortSignal): Promise<ConfirmSourceResponse>;
  inspect(request: InspectMigrationRequest, signal: AbortSignal): Promise<InspectMigrationResponse>;
}
