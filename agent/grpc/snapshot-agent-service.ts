import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import type { RequestContext } from "../../platform/request-context.ts";
import { SnapshotAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import type { Ref } from "../drivers/instance-driver.ts";
import type { SnapshotDriver } from "../drivers/snapshot-driver.ts";
import { ofOwnNode } from "./callers.ts";
import type { FindInstances } from "./instance-agent-service.ts";
import { checkInstanceId } from "./instance-requests.ts";

const SNAPSHOT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const OWN_SNAPSHOT_ID = /^snap-[a-z0-9]{1,64}$/;
const MAX_NAME = 253;
const MAX_DESCRIPTION = 4096;

interface Named {
  nodeId: string;
  instanceId: string;
  generation: number;
}

/** What the control plane asks of an agent about snapshots. Every call names its node; changes are made between the steps of the life cycle. */
export function snapshotAgentService(findInstances: FindInstances): GrpcService {
  async function exclusively<T>(
    named: Named,
    fleet: RequestContext,
    work: (driver: SnapshotDriver, ref: Ref, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const instances = ofOwnNode(fleet, named.nodeId, findInstances);
    checkInstanceId("instance_id", named.instanceId);
    const keeper = await instances.keeperOf(named.nodeId);
    return await keeper.exclusively(
      named,
      ({ driver, native }) => {
        if (driver.snapshots === null) throw unsupported();
        return work(driver.snapshots, { nativeId: native.nativeId }, fleet.signal);
      },
      fleet.signal,
    );
  }
  return grpcService(SnapshotAgentServiceDefinition, {
    async listSnapshots({ nodeId, instanceId }, { fleet }) {
      const instances = ofOwnNode(fleet, nodeId, findInstances);
      checkInstanceId("instance_id", instanceId);
      const { signal } = fleet;
      for (const driver of instances.drivers) {
        if (driver.snapshots === null || (await driver.find({ instanceId }, signal)) === null) continue;
        return { snapshots: await driver.snapshots.listSnapshots({ instanceId }, signal) };
      }
      return { snapshots: [] };
    },
    async createSnapshot(request, { fleet }) {
      const { snapshotId, name, description } = request;
      if (!OWN_SNAPSHOT_ID.test(snapshotId)) throw invalidArgument("snapshot_id", "A snapshot's id is snap- and letters and digits.");
      if (name.length > MAX_NAME) throw invalidArgument("name", `It has at most ${MAX_NAME} characters.`);
      if (description.length > MAX_DESCRIPTION) throw invalidArgument("description", `It has at most ${MAX_DESCRIPTION} characters.`);
      return await exclusively(request, fleet, (driver, ref, signal) => driver.createSnapshot(ref, request, signal));
    },
    async revertSnapshot(request, { fleet }) {
      checkSnapshotId(request.snapshotId);
      return await exclusively(request, fleet, (driver, ref, signal) => driver.revertSnapshot(ref, request.snapshotId, signal));
    },
    async deleteSnapshot(request, { fleet }) {
      checkSnapshotId(request.snapshotId);
      await exclusively(request, fleet, (driver, ref, signal) => driver.deleteSnapshot(ref, request.snapshotId, signal));
      return {};
    },
  });
}

function checkSnapshotId(id: string): void {
  if (!SNAPSHOT_ID.test(id)) throw invalidArgument("snapshot_id", "It is not a snapshot's name.");
}

function unsupported(): FleetError {
  return new FleetError("FAILED_PRECONDITION", "Instances of this type have no snapshots; VMs and microVMs have.", {
    reason: "SnapshotsUnsupported",
  });
}
