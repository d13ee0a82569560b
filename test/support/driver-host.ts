import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { InstancePlan, NativeInstance } from "../../agent/drivers/instance-driver.ts";
import { LibvirtDriver, type LibvirtDriverOptions } from "../../agent/drivers/libvirt/libvirt-driver.ts";
import { probeCacheFile } from "../../agent/drivers/libvirt/probe-cache-file.ts";
import { InstanceStorage } from "../../agent/drivers/libvirt/storage/instance-storage.ts";
import { LocalHost } from "../../agent/host/local.ts";
import { LibvirtClient } from "../../agent/libvirt/client.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { copyTinyGuest } from "./fleet-host.ts";
import { TestHost } from "./host.ts";
import { until } from "./until.ts";

const run = promisify(execFile);
const log = createLogger({ name: "test", level: "silent" });

/** A simulated machine with what an agent has of libvirt: client, storage and driver. Its images: tiny.qcow2, tiny-kernel, tiny-initrd. */
export class DriverHost implements AsyncDisposable {
  readonly host: TestHost;
  /** "STATE REASON" of each instance, in the order in which they were told; repeats are left out. */
  readonly told = new Map<string, string[]>();
  /** What `onAvailable` said. */
  readonly available: boolean[] = [];
  /** A file system of 2 MiB, for disks of type ssd. */
  readonly #small: string;
  readonly #hdd: string | undefined;
  /** Of the driver; a change counts from `restartAgent` on. */
  readonly options: Partial<LibvirtDriverOptions>;
  #client: LibvirtClient;
  #storage: InstanceStorage;
  #driver: LibvirtDriver;

  private constructor(host: TestHost, small: string, options: Partial<LibvirtDriverOptions>, hdd: string | undefined) {
    this.#hdd = hdd;
    this.host = host;
    this.#small = small;
    this.options = options;
    [this.#client, this.#storage, this.#driver] = this.#open();
  }

  /** `hdd`: where its disks of type hdd are, such as a directory that it shares with another host. */
  static async start(index: number, options: Partial<LibvirtDriverOptions> = {}, hdd?: string): Promise<DriverHost> {
    const small = await mkdtemp(join(tmpdir(), "fg-small-"));
    await run("mount", ["-t", "tmpfs", "-o", "size=2M", "tmpfs", small]);
    const host = await TestHost.start(index, { containers: false }).catch(async (error: unknown) => {
      await removeSmall(small);
      throw error;
    });
    await copyTinyGuest(host.imageDirectory);
    const driverHost = new DriverHost(host, small, options, hdd);
    await driverHost.#client.whenConnected(AbortSignal.timeout(10_000));
    return driverHost;
  }

  get driver(): LibvirtDriver {
    return this.#driver;
  }

  get client(): LibvirtClient {
    return this.#client;
  }

  get instanceDirectory(): string {
    return join(this.host.libvirt.directory, "instances");
  }

  /** Where storage pools may be made. */
  get poolRoot(): string {
    return join(this.host.libvirt.directory, "pools");
  }

  get probeFile(): string {
    return join(this.host.libvirt.directory, "boot-probe.json");
  }

  /** As when the agent ends and is started again: it knows what is on the host, and nothing else. */
  async restartAgent(): Promise<void> {
    await this.#close();
    this.told.clear();
    [this.#client, this.#storage, this.#driver] = this.#open();
    await until(() => this.#driver.available, "the driver");
  }

  async find(plan: Pick<InstancePlan, "instanceId">): Promise<NativeInstance | null> {
    return await this.#driver.find({ instanceId: plan.instanceId }, soon());
  }

  /** Waits for the driver to tell it. */
  async toldOf(plan: Pick<InstancePlan, "instanceId">, what: string): Promise<void> {
    const seen = () => this.told.get(plan.instanceId) ?? [];
    await until(() => seen().includes(what), `${plan.instanceId} ${what}`, 40_000).catch((error: Error) => {
      throw new Error(`${error.message} Told: ${seen().join(", ")}`);
    });
  }

  async address(plan: Pick<InstancePlan, "instanceId">): Promise<string> {
    let address: string | undefined;
    await until(
      async () => {
        address = (await this.find(plan))?.ipAddresses[0];
        return address !== undefined;
      },
      `an address of ${plan.instanceId}`,
      40_000,
    );
    return address ?? "";
  }

  async virsh(...args: string[]): Promise<string> {
    return (await run("virsh", ["--quiet", "-c", this.host.libvirtUri, ...args], { timeout: 30_000 })).stdout.trim();
  }

  /** Runs a program on the simulated machine. */
  async run(...command: string[]): Promise<string> {
    const [program = "", ...args] = [...this.host.namespace.prefix, ...command];
    return (await run(program, args, { timeout: 30_000 })).stdout;
  }

  /** All that the host has of instances: domains, filters, files. */
  async traces(): Promise<string[]> {
    const [domains, filters] = [await this.virsh("list", "--all", "--name"), await this.virsh("nwfilter-list")];
    const files = await Promise.all([this.instanceDirectory, this.#small].map((directory) => readdir(directory).catch(() => [])));
    const nvram = await readdir(join(this.host.libvirt.directory, "lib/qemu/nvram")).catch(() => []);
    return [...domains.split("\n"), ...filters.split("\n"), ...files.flat(), ...nvram].filter((line) => line.trim() !== "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    await this.host.stop();
    await removeSmall(this.#small);
  }

  #open(): [LibvirtClient, InstanceStorage, LibvirtDriver] {
    const client = LibvirtClient.open({ uri: this.host.libvirtUri, log });
    const storage = new InstanceStorage({
      client,
      log,
      imageDir: this.host.imageDirectory,
      instanceDirs: { default: this.instanceDirectory, ssd: this.#small, ...(this.#hdd === undefined ? {} : { hdd: this.#hdd }) },
      imageUrlPrefixes: [],
    });
    const driver = new LibvirtDriver({
      client,
      storage,
      log,
      publicNetwork: null,
      securityGroups: new Map(),
      poolRoots: [this.poolRoot],
      migrationDirectory: join(this.host.libvirt.directory, "migrations"),
      probeCache: probeCacheFile(this.probeFile),
      isLocal: true,
      host: new LocalHost(),
      readHostFile: (path) => readFile(path, "utf8"),
      ...this.options,
    });
    driver.listen({ onAvailable: (available) => this.available.push(available), onChanged: (id) => void this.#note(id) });
    return [client, storage, driver];
  }

  async #note(nativeId: string): Promise<void> {
    const found = await this.#driver.find({ nativeId }, soon()).catch(() => null);
    if (found?.mark == null) return;
    const list = this.told.get(found.mark.instanceId) ?? [];
    const now = `${found.state} ${found.reason}`;
    if (list.at(-1) !== now) list.push(now);
    this.told.set(found.mark.instanceId, list);
  }

  async #close(): Promise<void> {
    await this.#driver.close();
    await this.#storage.close();
    await this.#client.close();
  }
}

/** For calls that are over at once. */
export function soon(): AbortSignal {
  return AbortSignal.timeout(60_000);
}

async function removeSmall(directory: string): Promise<void> {
  await run("umount", ["--lazy", directory]);
  await rm(directory, { recursive: true, force: true });
}
