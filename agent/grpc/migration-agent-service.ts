import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { MigrationAgentServiceDefinition, MigrationProgress } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { MigrationDriver } from "../drivers/migration-driver.ts";
import { planOf } from "../instances/steps.ts";
import { anyMigrations, migrationsOf } from "../migration/migration-drivers.ts";
import { SourceHolds } from "../migration/source-holds.ts";
import { tunnelTo } from "../migration/tunnel-client.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { checkBegin, checkCheck, checkDescribe, checkEnd, checkInspect, checkPerform, checkPrepare } from "./migration-requests.ts";

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
      yield* progress((onProgress) => driver.perform(request, carry, onProgress, fleet.signal));
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

type Perform = (onProgress: Parameters<MigrationDriver["perform"]>[2]) => Promise<string>;

/** The latest progress for whoever is ready for it, and the cookie at last. */
async function* progress(perform: Perform): AsyncGenerator<MigrationProgress> {
  let latest: MigrationProgress | null = null;
  let last = MigrationProgress.fromPartial({});
  let news = Promise.withResolvers<void>();
  const cookie = perform((now) => {
    latest = now;
    last = now;
    news.resolve();
  });
  const over = cookie.then(
    () => true,
    () => true,
  );
  while (!(await Promise.race([over, news.promise.then(() => false)]))) {
    news = Promise.withResolvers();
    if (latest !== null) yield latest;
    latest = null;
  }
  const { totalBytes } = last;
  yield { phase: "done", currentBytes: totalBytes, totalBytes, cookie: await cookie };
}
