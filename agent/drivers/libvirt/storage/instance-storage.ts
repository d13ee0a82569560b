import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { FindCredential, ImageDriver } from "../../image-driver.ts";
import type { InstancePlan } from "../../instance-driver.ts";
import { activityOf } from "../../shared/activity.ts";
import type { FetchLimits } from "./fetch/fetch-limits.ts";
import { HostImageStorage } from "./host-image-storage.ts";
import type { CleanupRules } from "./image-cleanup.ts";
import { parseImageReference } from "./image-name.ts";
import type { HeldImage } from "./image-store.ts";
import { InstanceDisks, type MadeVolumes, type PlacedVolume } from "./instance-disks.ts";
import { type DiskPlan, type DiskType, type StoragePlan, storagePlan, volumePrefix, wholeSteps } from "./storage-plan.ts";
import type { StoragePool } from "./storage-pool.ts";
import { StoragePools } from "./storage-pools.ts";
import { Undo } from "./undo.ts";

export interface StorageOptions {
  client: LibvirtClient;
  log: Logger;
  /** Directories of the host that libvirt runs on, absolute. Directories that are the same share a pool. */
  imageDir: string;
  instanceDirs: { default: string; ssd?: string; hdd?: string };
  /**
   * Where images may be fetched from: a URL must begin with one of them, and may then lead to any address. Empty: every http and https URL,
   * except to loopback, link-local and cloud metadata addresses.
   */
  imageUrlPrefixes: readonly string[];
  /** Names and passwords for servers of images; by default there are none. */
  findCredential?: FindCredential | null;
  fetch?: Partial<FetchLimits>;
  /** By default, images that no instance needed for 30 days are removed. */
  cleanup?: Partial<CleanupRules>;
}

export interface PreparedDisk {
  name: string;
  path: string;
  format: "qcow2" | "raw";
  boot: boolean;
  /** As in the specification. */
  type: DiskType;
  /** The virtual size that it has. */
  sizeBytes: number;
}

/** What a domain needs of storage; paths on the host. */
export interface PreparedStorage {
  /** In the order of the specification. */
  disks: PreparedDisk[];
  kernel: string | null;
  initrd: string | null;
  /** An ISO 9660 image with label cidata, to be attached read-only as raw. */
  seed: string | null;
}

/**
 * What VMs and microVMs need on disk: overlays of images, empty disks, kernels, cloud-init seeds. Everything goes through libvirt's storage
 * API, so that it is the same on this host and on one that is reached by SSH. Errors are FleetErrors: UNAVAILABLE where libvirt is away
 * (repeat it), INVALID_ARGUMENT or FAILED_PRECONDITION with a reason for what cannot be done. Safe to be killed and repeated at any point.
 */
export class InstanceStorage {
  readonly #log: Logger;
  readonly #pools: StoragePools;
  readonly #disks: InstanceDisks;
  readonly #images: HostImageStorage;

  /** INVALID_ARGUMENT for a prefix that is no URL. */
  constructor(options: StorageOptions) {
    const { client, log, imageDir, instanceDirs } = options;
    this.#log = log;
    this.#pools = new StoragePools({ client, log, imageDir, instanceDirs });
    this.#disks = new InstanceDisks(this.#pools, log);
    this.#images = new HostImageStorage({ ...options, pool: this.#pools.images });
  }

  /** The images of the host. */
  get images(): ImageDriver {
    return this.#images.driver;
  }

  /** Of the agent's own pools. */
  get directories(): string[] {
    return [this.#pools.images, ...this.#pools.instances].map(({ directory }) => directory);
  }

  /** An image of the host, as a specification names it, to be let go when something stands on it. Errors as of `prepare`. */
  async image(name: string, signal: AbortSignal): Promise<HeldImage> {
    return await this.#images.store.image(parseImageReference(name, "image", this.#pools.images.directory), () => undefined, signal);
  }

  /** Makes and starts the pools where they are missing, and removes fetches that were cut off. To be called once libvirt is reached. */
  async ensurePools(signal: AbortSignal): Promise<void> {
    await this.#pools.open(signal);
    await this.#images.open(signal);
  }

  /**
   * Makes what the plan needs and gives where it is. What is there already is kept, what is half made is made anew; where it fails, what this
   * call made is removed again. `onActivity` is told what takes long, at most twice a second.
   */
  async prepare(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<PreparedStorage> {
    const wanted = this.#wanted(plan);
    const { store } = this.#images;
    const kernel = wanted.kernel && (await store.file(wanted.kernel, "kernel", signal));
    const initrd = wanted.initrd && (await store.file(wanted.initrd, "initrd", signal));
    using image = wanted.image && (await store.image(wanted.image, (progress) => onActivity(activityOf(progress)), signal));
    await this.#disks.refresh(signal);
    const made = new Undo(this.#log);
    try {
      const seed = this.#makeSeed(wanted, made, signal);
      const disks = wanted.disks.map(async (disk) => preparedDisk(disk, await this.#disks.ensure(disk, image, made, signal)));
      // All have ended when one has failed: what one makes late could not be undone.
      await Promise.allSettled([seed, ...disks]);
      return { disks: await Promise.all(disks), kernel, initrd, seed: await seed };
    } catch (error) {
      await made.undo();
      throw error;
    }
  }

  /** What `prepare` made; null where something of it is missing or half made. Makes nothing. */
  async existing(plan: InstancePlan, signal: AbortSignal): Promise<PreparedStorage | null> {
    const wanted = this.#wanted(plan);
    await this.#disks.refresh(signal);
    const disks: PreparedDisk[] = [];
    for (const disk of wanted.disks) {
      const found = await this.#disks.find(disk, signal);
      if (found === null) return null;
      disks.push(preparedDisk(disk, found));
    }
    const seed = await this.#seedPool.find(wanted.seedVolume, signal);
    if (wanted.seed !== null && seed?.physicalBytes !== wanted.seed.length) return null;
    const kernel = wanted.kernel && (await this.#fileOrNull(wanted.kernel, "kernel", signal));
    const initrd = wanted.initrd && (await this.#fileOrNull(wanted.initrd, "initrd", signal));
    if ((wanted.kernel !== null && kernel === null) || (wanted.initrd !== null && initrd === null)) return null;
    return { disks, kernel, initrd, seed: wanted.seed === null ? null : (seed?.path ?? null) };
  }

  /**
   * Makes what a guest needs that comes from another host with its disks: the disks empty and standing alone, of these capacities by the names of
   * their volumes, and its seed. Gives their paths by the names of the volumes. FAILED_PRECONDITION DiskInTheWay where there is one already.
   */
  async receive(plan: InstancePlan, capacities: ReadonlyMap<string, number>, signal: AbortSignal): Promise<Map<string, string>> {
    const wanted = this.#wanted(plan);
    await this.#disks.refresh(signal);
    const made = new Undo(this.#log);
    const paths = new Map<string, string>();
    try {
      for (const disk of wanted.disks) {
        const capacity = capacities.get(disk.volume);
        if (capacity === undefined) continue;
        paths.set(disk.volume, (await this.#disks.makeEmpty(disk, capacity, made, signal)).volume.path);
      }
      const seed = await this.#makeSeed(wanted, made, signal);
      if (seed !== null) paths.set(wanted.seedVolume, seed);
      return paths;
    } catch (error) {
      await made.undo();
      throw error;
    }
  }

  /** Where disks of instances may be, and where images are. */
  get places(): { instances: string[]; images: string; byType: Readonly<Record<DiskType, string>> } {
    const directory = (type: DiskType) => this.#pools.forType(type).directory;
    return {
      instances: this.#pools.instances.map((pool) => pool.directory),
      images: this.#pools.images.directory,
      byType: { "": directory(""), ssd: directory("ssd"), hdd: directory("hdd") },
    };
  }

  /** Grows disks to what the plan says, while the instance is stopped. FAILED_PRECONDITION DiskShrink where one would become smaller. */
  async resize(plan: InstancePlan, signal: AbortSignal): Promise<void> {
    const { disks } = this.#wanted(plan);
    await this.#disks.refresh(signal);
    const grown: (PlacedVolume & { capacity: number })[] = [];
    for (const disk of disks) {
      const found = await this.#disks.find(disk, signal);
      if (found === null) throw refused("DiskMissing", `The disk ${disk.name} is not there any more.`);
      const capacity = wholeSteps(disk.sizeBytes);
      if (disk.sizeBytes > 0 && capacity < found.volume.capacity) {
        throw refused(
          "DiskShrink",
          `The disk ${disk.name} has ${found.volume.capacity} bytes; disks only grow, ${disk.sizeBytes} are fewer.`,
        );
      }
      if (capacity > found.volume.capacity) grown.push({ ...found, capacity });
    }
    for (const { pool, volume, capacity } of grown) await pool.resize(volume, capacity, signal);
  }

  /** Removes every volume of the instance, also half made ones, in whatever pool. The domain must be gone. */
  async remove(instanceId: string, signal: AbortSignal): Promise<void> {
    const prefix = volumePrefix(instanceId);
    for (const pool of this.#pools.instances) {
      // What a daemon that was killed had begun may be on disk without libvirt's knowing.
      await pool.refresh(signal);
      const own = (await pool.names(signal)).filter((name) => name.startsWith(prefix));
      await Promise.all(own.map((name) => pool.remove(name, signal)));
    }
  }

  /** The names of all volumes that bear the instance's name, in whatever pool. */
  async volumesOf(instanceId: string, signal: AbortSignal): Promise<string[]> {
    const prefix = volumePrefix(instanceId);
    await this.#disks.refresh(signal);
    const names = await Promise.all(this.#pools.instances.map((pool) => pool.names(signal)));
    return names.flat().filter((name) => name.startsWith(prefix));
  }

  /** Of the file systems behind the instance pools, by disk type; "" is the default. */
  async freeBytes(signal: AbortSignal): Promise<Record<DiskType, number>> {
    await this.#disks.refresh(signal);
    const [byDefault, ssd, hdd] = await Promise.all(
      (["", "ssd", "hdd"] as const).map((type) => this.#pools.forType(type).freeBytes(signal)),
    );
    return { "": byDefault ?? 0, ssd: ssd ?? 0, hdd: hdd ?? 0 };
  }

  /** Removes fetched images that nobody needs, as the rules say; it is done now and then by itself. */
  async cleanUpImages(now: Date, signal: AbortSignal): Promise<void> {
    await this.#images.cleanUp(now, signal);
  }

  /** Ends fetches that are under way. */
  async close(): Promise<void> {
    await this.#images.close();
  }

  get #seedPool(): StoragePool {
    return this.#pools.forType("");
  }

  #wanted(plan: InstancePlan): StoragePlan {
    return storagePlan(plan, this.#pools.images.directory);
  }

  /** Written anew each time: it is as quick as comparing it. */
  async #makeSeed({ seed, seedVolume }: StoragePlan, made: MadeVolumes, signal: AbortSignal): Promise<string | null> {
    if (seed === null) return null;
    made.note(this.#seedPool, seedVolume);
    return (await this.#seedPool.write(seedVolume, seed, signal)).path;
  }

  async #fileOrNull(name: string, field: "kernel" | "initrd", signal: AbortSignal): Promise<string | null> {
    try {
      return await this.#images.store.file(name, field, signal);
    } catch (error) {
      if (error instanceof FleetError && error.reason === "ImageNotFound") return null;
      throw error;
    }
  }
}

function preparedDisk({ name, boot, type }: DiskPlan, { volume }: PlacedVolume): PreparedDisk {
  return { name, path: volume.path, format: "qcow2", boot, type, sizeBytes: volume.capacity };
}

function refused(reason: string, message: string): FleetError {
  return new FleetError("FAILED_PRECONDITION", message, { reason, details: { field: "spec.disks" } });
}
