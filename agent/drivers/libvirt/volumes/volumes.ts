import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { CreateVolumeRequest, NodeVolume } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { waitAtMost } from "../../../libvirt/wait.ts";
import { invalid, precondition } from "../../shared/refusals.ts";
import type { VolumeName } from "../../storage-driver.ts";
import { attempt } from "../driver-errors.ts";
import { MAX_DISK_BYTES } from "../storage/image-format.ts";
import type { HeldImage } from "../storage/image-store.ts";
import { readVolumeXml } from "../storage/storage-xml.ts";
import { type DiskUse, readDiskUses } from "./disk-users.ts";
import { MAX_LISTED, readVolumes } from "./host-volumes.ts";
import { checkVolumeName, readMakingFile, readVolumeFile, shown, type VolumeFormat } from "./names.ts";
import { nodeVolume } from "./node-views.ts";
import type { OpenPool } from "./open-pool.ts";
import type { HostPool, Pools } from "./pools.ts";
import { isAsDeclared } from "./volume-content.ts";
import { growVolume } from "./volume-growth.ts";
import { checkCapacity, type SourceImage, VolumeMaker } from "./volume-maker.ts";

export interface VolumesOptions {
  client: LibvirtClient;
  log: Logger;
  pools: Pools;
  /** An image of the host by what it is called there. */
  findImage: (name: string, signal: AbortSignal) => Promise<HeldImage>;
}

/** A list does not wait longer for libvirt to look into the directories. */
const REFRESH_MS = 5000;
const FORMATS: Partial<Record<ImageFormat, VolumeFormat>> = { [ImageFormat.QCOW2]: "qcow2", [ImageFormat.RAW]: "raw" };

/** The volumes of the host's pools. */
export class Volumes {
  readonly maker: VolumeMaker;
  readonly #options: VolumesOptions;
  readonly #client: LibvirtClient;
  readonly #pools: Pools;
  readonly #closing = new AbortController();
  readonly #making = new Set<Promise<unknown>>();

  constructor(options: VolumesOptions) {
    const { client, log, pools } = options;
    this.#options = options;
    this.#client = client;
    this.#pools = pools;
    this.maker = new VolumeMaker({
      client,
      log,
      hostname: async (signal) => (await client.call("connectGetHostname", {}, { signal })).hostname,
    });
  }

  /** Of one pool, or of all that run. NOT_FOUND, FAILED_PRECONDITION PoolInactive. */
  async list(poolName: string, signal: AbortSignal): Promise<NodeVolume[]> {
    const pools = poolName === "" ? (await this.#pools.all(signal)).filter(({ active }) => active) : [await this.#listed(poolName, signal)];
    await Promise.all(pools.filter(({ managed }) => managed).map((pool) => this.refresh(pool, signal)));
    const uses = await this.#uses(signal);
    const volumes: NodeVolume[] = [];
    for (const pool of pools) {
      for (const volume of await readVolumes(this.#client, pool.reference, signal)) {
        if (volumes.length >= MAX_LISTED) throw tooMany();
        const view = nodeVolume(pool, volume, uses.get(volume.path) ?? []);
        if (!pool.managed || readMakingFile(volume.name, "") === null) volumes.push(view);
      }
    }
    const halfMade = new Set((await Promise.all(pools.map((pool) => this.#halfMade(pool, signal)))).flat());
    const whole = volumes.filter(({ pool, name, managed }) => !managed || !halfMade.has(`${pool}/${name}`));
    return whole.sort((a, b) => (`${a.pool}/${a.name}` < `${b.pool}/${b.name}` ? -1 : 1));
  }

  /** Goes on where the caller gives up; who asks again waits for the same one. */
  async create(request: CreateVolumeRequest, signal: AbortSignal): Promise<NodeVolume> {
    const { name, capacityBytes } = request;
    checkVolumeName(name);
    const format = FORMATS[request.format];
    if (format === undefined) throw invalid("VolumeFormatUnsupported", "format", "Volumes are qcow2 or raw.");
    checkCapacity(capacityBytes, request.image === "" ? 1 : 0, MAX_DISK_BYTES);
    const pool = await this.#pools.use(request.pool, signal);
    const held = request.image === "" ? null : await this.#options.findImage(request.image, signal);
    const closing = this.#closing.signal;
    const make = async () => {
      // Nobody removes it before it is copied.
      using image = held;
      const source = image === null ? null : await this.#source(image, request.image, closing);
      return await this.maker.make(pool, { name, format, capacityBytes, image: source }, closing);
    };
    const making = pool.withVolume(name, make, closing);
    this.#making.add(making);
    const over = () => this.#making.delete(making);
    making.then(over, over);
    await waitAtMost(making, Number.POSITIVE_INFINITY, signal, () => new Error("never"));
    return await this.#view({ pool: request.pool, name }, signal);
  }

  /** FAILED_PRECONDITION VolumeShrink, VolumeInUse. */
  async resize(volume: VolumeName, capacityBytes: number, signal: AbortSignal): Promise<NodeVolume> {
    checkVolumeName(volume.name);
    checkCapacity(capacityBytes, 1, MAX_DISK_BYTES);
    const pool = await this.#pools.use(volume.pool, signal);
    const grow = async () => {
      const found = await this.find(pool, volume.name, signal);
      if (found === null) throw notFound("Volume", `${volume.pool}/${volume.name}`);
      const uses = (await readDiskUses(this.#client, signal)).filter(({ path }) => path === found.path);
      await growVolume({ client: this.#client, store: pool.store, volume: found, name: volume.name, uses, capacityBytes, signal });
    };
    await pool.withVolume(volume.name, grow, signal);
    return await this.#view(volume, signal);
  }

  /** FAILED_PRECONDITION VolumeInUse, VolumeNotManaged. Does nothing where it is gone. */
  async remove({ pool: poolName, name }: VolumeName, signal: AbortSignal): Promise<void> {
    const host = await this.#pools.find(poolName, signal);
    if (host === null) return;
    if (!host.managed) throw notManaged(poolName, name);
    const pool = await this.#pools.use(poolName, signal);
    await pool.store.refresh(signal);
    const files = await pool.store.names(signal);
    if (files.includes(name) && readVolumeFile(name) === null) throw notManaged(poolName, name);
    checkVolumeName(name);
    await pool.withVolume(name, () => this.#removeFiles(pool, name, signal), signal);
  }

  /** Before its pool goes. FAILED_PRECONDITION PoolInUse, PoolNotEmpty. */
  async emptyForRemoval(host: HostPool, withVolumes: boolean, signal: AbortSignal): Promise<void> {
    const uses = (await readDiskUses(this.#client, signal)).filter(({ path }) => path.startsWith(`${host.path}/`));
    if (uses.length > 0) {
      const usedBy = [...new Set(uses.map(({ user }) => user))].sort();
      throw precondition("PoolInUse", `Volumes of the pool ${host.name} are in use by ${usedBy.join(", ")}: detach them first.`, {
        usedBy,
      });
    }
    if (!(await this.#pools.started(host, signal))) {
      // One whose server is gone must be removable; nothing of its content is touched.
      if (!withVolumes) return;
      throw precondition(
        "PoolInactive",
        `The pool ${host.name} does not run, so its volumes cannot be removed: ${this.#pools.problemOf(host.name)}`,
      );
    }
    const pool = this.#pools.opened(host);
    await pool.store.refresh(signal);
    const names = (await pool.store.names(signal)).flatMap((file) => (readVolumeFile(file) ?? readMakingFile(file, ""))?.name ?? []);
    const volumes = [...new Set(names)].sort();
    if (volumes.length > 0 && !withVolumes) {
      throw precondition("PoolNotEmpty", `The pool ${host.name} has ${volumes.length} volumes: remove them first, or ask for that.`, {
        volumes: volumes.slice(0, 20),
      });
    }
    for (const name of volumes) await this.#removeFiles(pool, name, signal);
  }

  /** Its file, as libvirt sees it now. Null: there is none that is whole. */
  async find(pool: OpenPool, name: string, signal: AbortSignal) {
    await pool.store.refresh(signal);
    const files = await pool.store.names(signal);
    if (files.some((file) => readMakingFile(file, "")?.name === name)) return null;
    const file = files.find((one) => readVolumeFile(one)?.name === name);
    const volume = file === undefined ? null : await pool.store.find(file, signal);
    const format = file === undefined ? undefined : readVolumeFile(file)?.format;
    return volume === null || format === undefined ? null : { ...volume, declared: format };
  }

  /** Has libvirt look into the directory, unless that takes long. Never throws. */
  async refresh(pool: HostPool, signal: AbortSignal): Promise<void> {
    if (!pool.active) return;
    const limited = AbortSignal.any([signal, AbortSignal.timeout(REFRESH_MS)]);
    await this.#pools
      .opened(pool)
      .store.refresh(limited)
      .catch((error: unknown) => this.#options.log.debug({ err: error, pool: pool.name }, "a pool is told as it was"));
  }

  /** Ends what is being made, as far as that can be ended. */
  async close(): Promise<void> {
    this.#closing.abort(new FleetError("CANCELLED", "The agent is stopping."));
    await Promise.allSettled(this.#making);
  }

  /** libvirt copies it by what it takes it for itself. */
  async #source(image: HeldImage, name: string, signal: AbortSignal): Promise<SourceImage> {
    return await attempt(`read the image ${shown(name)}`, async () => {
      const { vol } = await this.#client.call("storageVolLookupByPath", { path: image.path }, { signal });
      const volume = { ...readVolumeXml((await this.#client.call("storageVolGetXmlDesc", { vol }, { signal })).xml), name, reference: vol };
      if (isAsDeclared(volume, image.format))
        return { reference: vol, virtualSize: image.virtualSize, allocatedBytes: volume.allocatedBytes };
      throw precondition("ImageFormatUnknown", `The image ${shown(name)} is ${image.format}, and libvirt takes it for ${volume.format}.`, {
        field: "image",
      });
    });
  }

  async #removeFiles(pool: OpenPool, name: string, signal: AbortSignal): Promise<void> {
    const files = await pool.store.names(signal);
    const own = files.filter((file) => readVolumeFile(file)?.name === name);
    for (const file of own) {
      const volume = await pool.store.find(file, signal);
      if (volume !== null) await this.#checkUnused(volume.path, name, signal);
    }
    const markers = files.filter((file) => readMakingFile(file, "")?.name === name);
    for (const file of [...own, ...markers]) await pool.store.remove(file, signal);
  }

  /** Also by what stands on it, whether that runs or not. */
  async #checkUnused(path: string, name: string, signal: AbortSignal): Promise<void> {
    const users = ((await this.#uses(signal)).get(path) ?? []).map(({ user }) => user);
    for (const pool of (await this.#pools.all(signal)).filter(({ active }) => active)) {
      const above = (await readVolumes(this.#client, pool.reference, signal)).filter(({ backingPath }) => backingPath === path);
      users.push(...above.map((volume) => `the volume ${volume.name} of the pool ${pool.name}`));
    }
    if (users.length === 0) return;
    const usedBy = [...new Set(users)].sort();
    throw precondition("VolumeInUse", `The volume ${name} is in use by ${usedBy.join(", ")}: detach it first.`, { usedBy });
  }

  async #uses(signal: AbortSignal): Promise<Map<string, DiskUse[]>> {
    return Map.groupBy(await readDiskUses(this.#client, signal), ({ path }) => path);
  }

  async #halfMade(pool: HostPool, signal: AbortSignal): Promise<string[]> {
    if (!pool.managed) return [];
    const files = await this.#pools.opened(pool).store.names(signal);
    return files.flatMap((file) => readMakingFile(file, "") ?? []).map(({ name }) => `${pool.name}/${name}`);
  }

  async #listed(name: string, signal: AbortSignal): Promise<HostPool> {
    const pool = await this.#pools.find(name, signal);
    if (pool === null) throw notFound("StoragePool", name);
    if (pool.active) return pool;
    if (pool.managed && (await this.#pools.started(pool, signal))) return { ...pool, active: true };
    throw precondition("PoolInactive", `The pool ${shown(name)} does not run. ${this.#pools.problemOf(name)}`.trim());
  }

  async #view({ pool: poolName, name }: VolumeName, signal: AbortSignal): Promise<NodeVolume> {
    const host = await this.#listed(poolName, signal);
    const found = await this.find(this.#pools.opened(host), name, signal);
    if (found === null) throw notFound("Volume", `${poolName}/${name}`);
    return nodeVolume(host, found, (await this.#uses(signal)).get(found.path) ?? []);
  }
}

function notManaged(pool: string, name: string): FleetError {
  return precondition(
    "VolumeNotManaged",
    `The volume ${shown(name)} of the pool ${shown(pool)} was not made by Fleetgraph: it is not removed.`,
  );
}

function tooMany(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `The host has more than ${MAX_LISTED} volumes: list them pool by pool.`, {
    reason: "TooManyVolumes",
  });
}
