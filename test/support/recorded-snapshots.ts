import { notFound } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import {
  type CreateSnapshotRequest,
  NodeSnapshot,
  type RevertSnapshotRequest,
  SnapshotAgentServiceDefinition,
} from "../../schema/generated/proto/hypervisor/v1/snapshots.ts";

/** The snapshots of a recorded agent: it really serves SnapshotAgentService, from a table, and carries out at once. */
export class RecordedSnapshots {
  readonly created: CreateSnapshotRequest[] = [];
  readonly reverted: RevertSnapshotRequest[] = [];
  /** Before a snapshot is made: to refuse, or to keep waiting. */
  onCreate: ((request: CreateSnapshotRequest) => Promise<void>) | null = null;
  readonly #kept = new Map<string, NodeSnapshot>();

  service(): GrpcService {
    return grpcService(SnapshotAgentServiceDefinition, {
      listSnapshots: async () => ({ snapshots: [...this.#kept.values()] }),
      createSnapshot: async (request) => {
        this.created.push(request);
        await this.onCreate?.(request);
        const { snapshotId: id, name, description } = request;
        const snapshot = NodeSnapshot.create({ id, name, description, state: "RUNNING", hasMemory: true, current: true, managed: true });
        this.#kept.set(id, snapshot);
        return snapshot;
      },
      revertSnapshot: async (request) => {
        this.reverted.push(request);
        return this.#find(request.snapshotId);
      },
      deleteSnapshot: async ({ snapshotId }) => {
        this.#kept.delete(snapshotId);
        return {};
      },
    });
  }

  #find(id: string): NodeSnapshot {
    const snapshot = this.#kept.get(id);
    if (snapshot === undefined) throw notFound("Snapshot", id);
    return snapshot;
  }
}
