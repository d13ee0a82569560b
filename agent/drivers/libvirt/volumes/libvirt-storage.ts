import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { AttachedVolume, NetworkInterfaceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type {
  CreatePoolRequest,
  CreateVolumeRequest,
  NodePool,
  NodeVolume,
  PluggedDevice,
} from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { InstancePlan, Ref } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { StorageDriver, VolumeName } from "../../storage-driver.ts";
import { unreachable } from "../abilities.ts";
import { gone } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { orNull } from "../driver-errors.ts";
import type { Networks } from "../networks.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import type { ExtraDevices } from "./devices.ts";
import { Extras } from "./extras.ts";
import { checkExtras } from "./extras-check.ts";
import { nodePool } from "./node-views.ts";
import { Plugger } from "./plugger.ts";
import type { PoolPathRules } from "./pool-paths.ts";
import { type HostPool, Pools } from "./pools.ts";
import { Volumes } from "./volumes.ts";

export interface LibvirtStorageOptions {
  client: LibvirtClient;
  log: Logger;
  paths: PoolPathRules;
  /** Images, and the directories of the agent's own pools. */
  storage: Pick<InstanceStorage, "image" | "directories">;
  index: Pick<DomainIndex, "find" | "drop">;
  networks: Networks;
  securityGroups: SecurityGroups;
  /** For a running guest to let go of a device; 30 s by default. */
  removalMs?: number;
}

/** Storage pools and volumes by libvirt's storage API, and what is plugged into its domains. */
export class LibvirtStorage implements StorageDriver {
  readonly #options: LibvirtStorageOptions;
  readonly #pools: Pools;
  readonly #volumes: Volumes;
  readonly #extras: Extras;
  readonly #plugger: Plugger;

  constructor(options: LibvirtStorageOptions) {
    const { client, log, paths, storage, networks, securityGroups, removalMs } = options;
    this.#options = options;
    this.#pools = new Pools({ client, log, paths, systemDirectories: storage.directories });
    this.#volumes = new Volumes({ client, log, pools: this.#pools, findImage: (name, signal) => storage.image(name, signal) });
    this.#extras = new Extras({ client, pools: this.#pools, volumes: this.#volumes, networks, securityGroups });
    this.#plugger = new Plugger({ client, extras: this.#extras, networks, removalMs });
  }

  /** Starts the pools that were made here, and removes what was left half made in them. To be called once libvirt is reached. */
  async refresh(signal: AbortSignal): Promise<void> {
    await this.#pools.startAll(signal);
    for (const pool of await this.#pools.all(signal)) {
      if (pool.managed && pool.active) await this.#volumes.maker.clearAll(this.#pools.opened(pool), signal);
    }
  }

  async listPools(signal: AbortSignal): Promise<NodePool[]> {
    checkConnected(this.#options.client);
    const pools = await this.#pools.all(signal);
    await Promise.all(pools.filter(({ managed }) => managed).map((pool) => this.#volumes.refresh(pool, signal)));
    return await Promise.all(pools.map((pool) => this.#told(pool, signal)));
  }

  async createPool(request: CreatePoolRequest, signal: AbortSignal): Promise<NodePool> {
    checkConnected(this.#options.client);
    return await this.#told(await this.#pools.create(request, signal), signal);
  }

  async deletePool(name: string, withVolumes: boolean, signal: AbortSignal): Promise<void> {
    checkConnected(this.#options.client);
    await this.#pools.remove(name, (pool) => this.#volumes.emptyForRemoval(pool, withVolumes, signal), signal);
  }

  async listVolumes(pool: string, signal: AbortSignal): Promise<NodeVolume[]> {
    checkConnected(this.#options.client);
    return await this.#volumes.list(pool, signal);
  }

  async createVolume(request: CreateVolumeRequest, signal: AbortSignal): Promise<NodeVolume> {
    checkConnected(this.#options.client);
    return await this.#volumes.create(request, signal);
  }

  async resizeVolume(volume: VolumeName, capacityBytes: number, signal: AbortSignal): Promise<NodeVolume> {
    checkConnected(this.#options.client);
    return await this.#volumes.resize(volume, capacityBytes, signal);
  }

  async deleteVolume(volume: VolumeName, signal: AbortSignal): Promise<void> {
    checkConnected(this.#options.client);
    await this.#volumes.remove(volume, signal);
  }

  async plug(
    ref: Ref,
    volumes: readonly AttachedVolume[],
    interfaces: readonly NetworkInterfaceSpec[],
    signal: AbortSignal,
  ): Promise<PluggedDevice[]> {
    checkConnected(this.#options.client);
    checkExtras({ volumes, interfaces });
    const domain = await this.#options.index.find(ref, signal);
    if (domain === null) throw gone();
    const instanceId = domain.facts.mark?.instanceId;
    if (instanceId === undefined) {
      throw precondition("InstanceUnmanaged", "The agent plugs nothing into what it did not make: adopt it first.");
    }
    return await this.#plug(domain, instanceId, { volumes, interfaces }, signal);
  }

  /** Whether an instance that is to be made can have what it asks for. Makes nothing. */
  async check({ instanceId, spec }: InstancePlan, signal: AbortSignal): Promise<void> {
    await this.#extras.use(spec, { instanceId, domainUuid: null, present: [] }, async () => undefined, signal);
  }

  /** Calls `define` with what the instance is to have; nobody else takes it meanwhile. */
  async withExtras<T>({ instanceId, spec }: InstancePlan, define: (extras: ExtraDevices) => Promise<T>, signal: AbortSignal): Promise<T> {
    const work = async (devices: ExtraDevices) => {
      await this.#extras.makeFilters(spec, instanceId, signal);
      return await define(devices);
    };
    return await this.#extras.use(spec, { instanceId, domainUuid: null, present: [] }, work, signal);
  }

  /** Makes the devices of a domain what the plan says. */
  async plugAsPlanned(domain: Domain, { instanceId, spec }: InstancePlan, signal: AbortSignal): Promise<void> {
    await this.#plug(domain, instanceId, spec, signal);
  }

  /** FAILED_PRECONDITION VolumeMissing, PoolMissing, PoolInactive, VolumeUnusable, by the name of the volume. */
  async checkBeforeStart(domain: Domain, signal: AbortSignal): Promise<void> {
    await this.#extras.checkBeforeStart(await this.#plugger.defined(domain, signal), signal);
  }

  /** Ends what is being made, as far as that can be ended. */
  async close(): Promise<void> {
    await this.#volumes.close();
  }

  async #plug(
    domain: Domain,
    instanceId: string,
    wanted: { volumes: readonly AttachedVolume[]; interfaces: readonly NetworkInterfaceSpec[] },
    signal: AbortSignal,
  ): Promise<PluggedDevice[]> {
    try {
      return await this.#plugger.plug(domain, instanceId, wanted, signal);
    } finally {
      // There is no event for what changes in a definition.
      this.#options.index.drop(domain.dom.uuid);
    }
  }

  async #told(pool: HostPool, signal: AbortSignal): Promise<NodePool> {
    const info = this.#options.client.call("storagePoolGetInfo", { pool: pool.reference }, { signal });
    const figures = await orNull(info, "NO_STORAGE_POOL");
    return nodePool(pool, figures, this.#pools.isSystem(pool), this.#pools.problemOf(pool.name));
  }
}

/** Callers ask again; one that waits for libvirt to come back would hold them up. */
function checkConnected({ connected, lastError }: LibvirtClient): void {
  if (connected) return;
  const { reason, message } = unreachable(lastError);
  throw new FleetError("UNAVAILABLE", message, { reason });
}
