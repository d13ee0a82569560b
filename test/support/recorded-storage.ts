import { FleetError } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import {
  type CreatePoolRequest,
  type CreateVolumeRequest,
  NodePool,
  NodeVolume,
  type PlugDevicesRequest,
  StorageAgentServiceDefinition,
} from "../../schema/generated/proto/hypervisor/v1/storage.ts";

/** The pools and volumes of a recorded agent: it really serves StorageAgentService, from a table, and carries out at once. */
export class RecordedStorage {
  readonly pools = new Map<string, NodePool>();
  /** By "pool/name". */
  readonly volumes = new Map<string, NodeVolume>();
  readonly plugged: PlugDevicesRequest[] = [];
  /** What instances have beside their disks and first interface: names of volumes and of interfaces. */
  readonly devices = new Map<string, string[]>();
  /** Calls of ListVolumes. */
  volumeLists = 0;
  /** Before a plug is carried out: to refuse, or to keep waiting. */
  onPlug: ((request: PlugDevicesRequest) => Promise<void>) | null = null;

  service(): GrpcService {
    return grpcService(StorageAgentServiceDefinition, {
      listPools: async () => ({ pools: [...this.pools.values()] }),
      createPool: async (request) => this.#createPool(request),
      deletePool: async ({ name, withVolumes }) => {
        const within = [...this.volumes.values()].filter(({ pool }) => pool === name);
        if (within.length > 0 && !withVolumes) throw refused("PoolNotEmpty", "The pool has volumes.");
        for (const volume of within) this.volumes.delete(keyOf(volume));
        this.pools.delete(name);
        return {};
      },
      listVolumes: async ({ pool }) => {
        this.volumeLists += 1;
        return { volumes: [...this.volumes.values()].filter((volume) => pool === "" || volume.pool === pool) };
      },
      createVolume: async (request) => this.#createVolume(request),
      resizeVolume: async ({ capacityBytes, ...name }) => {
        const volume = this.#volume(name);
        if (capacityBytes < volume.capacityBytes) throw refused("VolumeShrink", "A volume only grows.");
        volume.capacityBytes = capacityBytes;
        return volume;
      },
      deleteVolume: async (name) => {
        const volume = this.volumes.get(keyOf(name));
        if (volume !== undefined && volume.usedBy.length > 0) throw refused("VolumeInUse", "An instance has the volume.");
        this.volumes.delete(keyOf(name));
        return {};
      },
      plugDevices: async (request) => {
        this.plugged.push(request);
        await this.onPlug?.(request);
        return this.#plug(request);
      },
    });
  }

  #createPool({ name, kind, path, source }: CreatePoolRequest): NodePool {
    const there = this.pools.get(name);
    if (there && there.path !== path) throw new FleetError("ALREADY_EXISTS", "The pool is there differently.");
    const pool =
      there ?? NodePool.fromPartial({ name, kind, nativeKind: "dir", path, source, active: true, capacityBytes: 2 ** 40, managed: true });
    this.pools.set(name, pool);
    return pool;
  }

  #createVolume({ pool, name, format, capacityBytes }: CreateVolumeRequest): NodeVolume {
    if (!this.pools.has(pool)) throw new FleetError("NOT_FOUND", "There is no such pool.", { details: { field: "pool" } });
    const key = keyOf({ pool, name });
    const volume = this.volumes.get(key) ?? NodeVolume.fromPartial({ pool, name, format, capacityBytes, managed: true });
    this.volumes.set(key, volume);
    return volume;
  }

  #volume(name: { pool: string; name: string }): NodeVolume {
    const volume = this.volumes.get(keyOf(name));
    if (volume === undefined) throw new FleetError("NOT_FOUND", "There is no such volume.", { details: { field: "name" } });
    return volume;
  }

  #plug({ instanceId, volumes, interfaces }: PlugDevicesRequest) {
    const wanted = volumes.map(({ pool, volume }) => this.#volume({ pool, name: volume }));
    for (const volume of this.volumes.values()) volume.usedBy = volume.usedBy.filter((id) => id !== instanceId);
    for (const volume of wanted) volume.usedBy.push(instanceId);
    const names = [...volumes, ...interfaces].map(({ name }) => name);
    this.devices.set(instanceId, names);
    return { devices: names.map((name, index) => ({ name, native: `vd${"bcdefgh"[index]}` })) };
  }
}

function keyOf({ pool, name }: { pool: string; name: string }): string {
  return `${pool}/${name}`;
}

function refused(reason: string, message: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason });
}
