import { execFile } from "node:child_process";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { InstancePlan } from "../../agent/drivers/instance-driver.ts";
import { InstanceStorage, type StorageOptions } from "../../agent/drivers/libvirt/storage/instance-storage.ts";
import { LibvirtClient } from "../../agent/libvirt/client.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { type CloudInit, type DiskSpec, InstanceSpec, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { LibvirtDaemon } from "./libvirt-daemon.ts";

const run = promisify(execFile);

type Spec = Partial<Omit<InstanceSpec, "disks" | "cloudInit">> & { disks?: Partial<DiskSpec>[]; cloudInit?: Partial<CloudInit> };

/** Quick, so that a test of what goes wrong need not wait. */
export const QUICK_FETCH = { retryPauseMs: 5, idleTimeoutMs: 5000, connectTimeoutMs: 5000 };

/** A libvirtd with directories for images and instances, and storage on it; several at a time stand for an agent that starts again. */
export class StorageHost implements AsyncDisposable {
  readonly daemon: LibvirtDaemon;
  readonly client: LibvirtClient;
  readonly images: string;
  readonly instances: string;
  readonly #storages: InstanceStorage[] = [];
  readonly #clients: LibvirtClient[] = [];

  private constructor(daemon: LibvirtDaemon) {
    this.daemon = daemon;
    this.images = join(daemon.directory, "images");
    this.instances = join(daemon.directory, "instances");
    this.client = this.connect();
  }

  static async start(): Promise<StorageHost> {
    return new StorageHost(await LibvirtDaemon.start());
  }

  connect(): LibvirtClient {
    const client = LibvirtClient.open({ uri: this.daemon.uri(), log: createLogger({ name: "test", level: "silent" }) });
    this.#clients.push(client);
    return client;
  }

  /** As an agent has it that was started now. */
  storage(options: Partial<StorageOptions> = {}): InstanceStorage {
    const storage = new InstanceStorage({
      client: this.client,
      log: createLogger({ name: "test", level: "silent" }),
      imageDir: this.images,
      instanceDirs: { default: this.instances },
      imageUrlPrefixes: [],
      ...options,
      fetch: { ...QUICK_FETCH, ...options.fetch },
    });
    this.#storages.push(storage);
    return storage;
  }

  /** The files that instances have, sorted. */
  async instanceFiles(): Promise<string[]> {
    return (await readdir(this.instances)).sort();
  }

  async imageFiles(): Promise<string[]> {
    return (await readdir(this.images)).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#storages.map((storage) => storage.close()));
    await Promise.all(this.#clients.map((client) => client.close()));
    await this.daemon.close();
  }
}

/** A VM's plan. Instances of different tests need different ids. */
export function planFor(instanceId: string, spec: Spec, name = "web"): InstancePlan {
  return {
    instanceId,
    nodeId: "node-1",
    generation: 1,
    name,
    type: InstanceType.VM,
    spec: InstanceSpec.fromPartial(spec),
    labels: {},
    annotations: {},
  };
}

export interface QemuImageInfo {
  format: string;
  "virtual-size": number;
  "backing-filename"?: string;
  "backing-filename-format"?: string;
}

export async function qemuImageInfo(path: string): Promise<QemuImageInfo> {
  return JSON.parse((await run("qemu-img", ["info", "--output=json", "-U", path])).stdout) as QemuImageInfo;
}

/** Runs qemu-img in a directory. */
export async function qemuImage(directory: string, ...args: string[]): Promise<void> {
  await run("qemu-img", args, { cwd: directory });
}
