import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { MigrationAgentServiceDefinition, type MigrationProgress } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import { planOf } from "../instances/steps.ts";
import { anyMigrations, migrationsOf } from "../migration/migration-drivers.ts";
import { SourceHolds } from "../migration/source-holds.ts";
import { tunnelTo } from "../migration/tunnel-client.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { checkBegin, checkCheck, checkDescribe, checkEnd, checkInspect, checkPerform, checkPrepare } from "./migration-requests.ts";
import { progressStream } from "./progress-stream.ts";

/** Live migration of a node's instances, led by the control plane. `pool` has the connections to other agents. */
export function migrationAgentService(findInstances: FindInstances, pool: ChannelPool): GrpcService {
  const holds = new SourceHolds();
  const driverOf = (fleet: RequestContext, nodeId: string) => anyMigrations(ofOwnNode(fleet, nodeId, findInstances).drivers);
  return grpcService(MigrationAgentServiceDefinition, {
    async describeSource(request, { fleet }) {
      const keeper = await ofOwnNode(fleet, request.nodeId, findInstances).keeperOf(request.nodeId);
      checkDescribe(request);
      return await keeper.exclusively(
        request,
        ({ driver }, record) => migrationsOf(driver).describe(planOf(record), fleet.signal),
        fleet.signal,
      );
    },
    async checkDestination(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkCheck(request);
      return await driver.check(request, fleet.signal);
    },
    async beginSource(request, { fleet }) {
      const keeper = await ofOwnNode(fleet, request.nodeId, findInstances).keeperOf(request.nodeId);
      checkBegin(request);
      return await holds.begin(keeper, request, fleet.signal);
    },
    async prepareDestination(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkPrepare(request);
      const keeper = await ofOwnNode(fleet, request.nodeId, findInstances).keeperOf(request.nodeId);
      if (keeper.holds(request.instanceId)) {
        throw new FleetError("UNAVAILABLE", "The node still has an earlier placement of this instance, and removes it: try again soon.", {
          reason: "PlacementThere",
        });
      }
      return await driver.prepare(request, fleet.signal);
    },
    async *performSource(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkPerform(request);
      const { destinationAddress: address, destinationPeer: peerUri, migrationId, ticket } = request;
      const carry = tunnelTo(pool, { address, peerUri, migrationId, ticket });
      const perform = async (tell: (progress: MigrationProgress) => void, signal: AbortSignal) => {
        let totalBytes = 0;
        const onProgress = (progress: MigrationProgress) => {
          totalBytes = progress.totalBytes;
          tell(progress);
        };
        const cookie = await driver.perform(request, carry, onProgress, signal);
        return { phase: "done", currentBytes: totalBytes, totalBytes, cookie };
      };
      yield* progressStream(perform, fleet.signal);
    },
    async finishDestination(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkEnd(request);
      return await driver.finish(request, fleet.signal);
    },
    async confirmSource(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkEnd(request);
      return await driver.confirm(request, fleet.signal);
    },
    async inspectMigration(request, { fleet }) {
      const driver = driverOf(fleet, request.nodeId);
      checkInspect(request);
      return await driver.inspect(request, fleet.signal);
    },
  });
}
