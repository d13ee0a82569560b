import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { ContainerDriver, type ContainerDriverOptions } from "../../agent/drivers/containers/container-driver.ts";
import { ContainerNotesFile } from "../../agent/drivers/containers/container-notes.ts";
import type { NativeInstance, NativeState, Ref } from "../../agent/drivers/instance-driver.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { NetworkNamespace } from "./network-namespace.ts";
import { PodmanService } from "./podman-service.ts";
import { until } from "./until.ts";

const DEADLINE_MS = 30_000;
/** What takes seconds in production. */
const WATCH = { firstPauseMs: 20, longestPauseMs: 100, sweepMs: 60_000 };

/** Far enough away; each call gets its own. */
export const soon = () => AbortSignal.timeout(DEADLINE_MS);

/** A podman in a network of its own, and drivers on it. Needs the peers podman and network-namespaces. */
export class ContainerHost implements AsyncDisposable {
  readonly namespace: NetworkNamespace;
  readonly podman: PodmanService;
  /** Of the host: the mounts of containers are allowed in `roots`. */
  readonly directory: string;
  /** What drivers wrote into their log. */
  readonly logged: string[] = [];
  readonly #drivers = new Set<ContainerDriver>();

  private constructor(namespace: NetworkNamespace, podman: PodmanService, directory: string) {
    this.namespace = namespace;
    this.podman = podman;
    this.directory = directory;
  }

  /** `index` as of NetworkNamespace. `registries` are told the address by which the namespace reaches this machine. */
  static async start(
    index: number,
    insecureRegistries: (hostAddress: string) => Promise<string[]> = async () => [],
  ): Promise<ContainerHost> {
    const namespace = await NetworkNamespace.create(index);
    try {
      const podman = await PodmanService.start({ namespace, insecureRegistries: await insecureRegistries(namespace.hostAddress) });
      await podman.importBusyboxImage();
      return new ContainerHost(namespace, podman, await realpath(await mkdtemp(join(tmpdir(), "fleetgraph-containers-"))));
    } catch (error) {
      await namespace.remove();
      throw error;
    }
  }

  get root(): string {
    return join(this.directory, "shared");
  }

  /** Another one with the same `notes` knows what the first one did. */
  async driver(options: Partial<ContainerDriverOptions> = {}, notes = "notes"): Promise<ContainerDriver> {
    const destination = new Writable({
      decodeStrings: false,
      write: (line: string, _encoding, done) => {
        this.logged.push(line);
        done();
      },
    });
    const driver = new ContainerDriver({
      socketPath: this.podman.socketPath,
      notes: await ContainerNotesFile.open(join(this.directory, `${notes}.json`)),
      mountRoots: [this.root],
      log: createLogger({ name: "containers", level: "debug", destination }),
      watch: WATCH,
      ...options,
    });
    this.#drivers.add(driver);
    return driver;
  }

  /** All that podman has: containers, also half-made ones, and volumes. */
  async leftovers(): Promise<string[]> {
    const containers = await this.podman.podman("ps", "--all", "--external", "--format", "{{.Names}}");
    const volumes = await this.podman.podman("volume", "ls", "--format", "{{.Name}}");
    return `${containers}${volumes}`.split("\n").filter((line) => line !== "");
  }

  /** Its output. */
  async exec(container: string, ...command: string[]): Promise<string> {
    return (await this.podman.podman("exec", container, ...command)).trim();
  }

  async stop(): Promise<void> {
    for (const driver of this.#drivers) await driver.close();
    await this.podman.stop();
    await this.namespace.remove();
    await rm(this.directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Waits until the driver finds it in this state. */
export async function untilState(driver: ContainerDriver, ref: Ref, state: NativeState): Promise<NativeInstance> {
  let last: NativeInstance | null = null;
  await until(
    async () => {
      last = await driver.find(ref, soon());
      return last?.state === state;
    },
    `${"instanceId" in ref ? ref.instanceId : ref.nativeId} to be ${state}`,
    20_000,
  );
  return last as unknown as NativeInstance;
}
