import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { directoryOfPool } from "./open-pool.ts";
import type { DiskType } from "./storage-plan.ts";
import { type PoolOptions, StoragePool } from "./storage-pool.ts";

export interface PoolsOptions {
  client: LibvirtClient;
  log: Logger;
  imageDir: string;
  instanceDirs: { default: string; ssd?: string; hdd?: string };
}

const NAMES = { images: "fleetgraph-images", "": "fleetgraph-instances", ssd: "fleetgraph-instances-ssd", hdd: "fleetgraph-instances-hdd" };

/** The pools that the host's configuration names; a directory that is named twice is one pool. */
export class StoragePools {
  readonly images: StoragePool;
  readonly #options: PoolsOptions;
  readonly #configured: readonly StoragePool[];
  /** Their directories are not configured any more; disks may be left in them. */
  #former: readonly StoragePool[] = [];
  readonly #byType: Readonly<Record<DiskType, StoragePool>>;

  constructor(options: PoolsOptions) {
    const { client, log, imageDir, instanceDirs } = options;
    this.#options = options;
    const pools = new Map<string, StoragePool>();
    const pool = (name: PoolOptions["name"], directory: string) => {
      const made = new StoragePool({ client, log, name, directory });
      const known = pools.get(made.directory) ?? made;
      pools.set(made.directory, known);
      return known;
    };
    this.images = pool(NAMES.images, imageDir);
    const byDefault = pool(NAMES[""], instanceDirs.default);
    this.#byType = {
      "": byDefault,
      ssd: instanceDirs.ssd === undefined ? byDefault : pool(NAMES.ssd, instanceDirs.ssd),
      hdd: instanceDirs.hdd === undefined ? byDefault : pool(NAMES.hdd, instanceDirs.hdd),
    };
    this.#configured = [...new Set(Object.values(this.#byType))];
  }

  /** Those that disks of instances may be in, each once. */
  get instances(): readonly StoragePool[] {
    return [...this.#configured, ...this.#former];
  }

  forType(type: DiskType): StoragePool {
    return this.#byType[type];
  }

  async open(signal: AbortSignal): Promise<void> {
    this.#former = await this.#findFormer(signal);
    await Promise.all([...new Set([this.images, ...this.instances])].map((pool) => pool.open(signal)));
  }

  async #findFormer(signal: AbortSignal): Promise<StoragePool[]> {
    const { client, log } = this.#options;
    const known = new Set([this.images, ...this.#configured].map(({ directory }) => directory));
    const former: StoragePool[] = [];
    for (const type of ["ssd", "hdd"] as const) {
      if (this.#options.instanceDirs[type] !== undefined) continue;
      const directory = await directoryOfPool(client, NAMES[type], signal);
      if (directory !== null && !known.has(directory)) former.push(new StoragePool({ client, log, name: NAMES[type], directory }));
    }
    return former;
  }
}
