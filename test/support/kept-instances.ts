import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostDrivers } from "../../agent/instances/host-drivers.ts";
import { InstanceStore } from "../../agent/instances/instance-store.ts";
import { InstanceKeeper, type KeeperOptions } from "../../agent/instances/keeper.ts";
import { createLogger } from "../../platform/observability/log.ts";
import type { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { NODE } from "./instance-samples.ts";
import { type Hook, MemoryDriver, MemoryHost } from "./memory-driver.ts";
import { until } from "./until.ts";

const log = createLogger({ name: "agent", level: process.env.TEST_LOG ? "debug" : "silent" });

/** A keeper on a host in memory and a directory of its own; all that it tells is kept. */
export class KeptInstances implements AsyncDisposable {
  readonly host = new MemoryHost();
  readonly told: InstanceObservation[] = [];
  fullWanted = 0;
  driver!: MemoryDriver;
  keeper!: InstanceKeeper;
  store!: InstanceStore;
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(options: Partial<KeeperOptions> = {}, hook?: Hook): Promise<KeptInstances> {
    const kept = new KeptInstances(await mkdtemp(join(tmpdir(), "fleetgraph-kept-")));
    await kept.start(options, hook);
    return kept;
  }

  get directory(): string {
    return this.#directory;
  }

  /** Another agent on what the one before it left. */
  async start(options: Partial<KeeperOptions> = {}, hook?: Hook): Promise<void> {
    this.driver = new MemoryDriver(this.host, hook);
    this.store = await InstanceStore.open({ directory: this.#directory, log });
    this.keeper = new InstanceKeeper({
      nodeId: NODE,
      store: this.store,
      drivers: new HostDrivers([this.driver]),
      readBootId: async () => this.host.bootId,
      adoption: true,
      log,
      onObservation: (observation) => this.told.push(observation),
      onFullWanted: () => {
        this.fullWanted += 1;
      },
      ...options,
    });
    await this.keeper.start();
  }

  /** The last of an instance. */
  last(id: string): InstanceObservation | undefined {
    return this.told.findLast(({ instanceId, nativeId }) => instanceId === id || (instanceId === "" && nativeId === id));
  }

  /** What was told of an instance, without repetitions: "CREATING REQUESTED". */
  states(id: string): string[] {
    const states = this.told
      .filter(({ instanceId }) => instanceId === id)
      .map(({ state, stateReason }) => `${state.slice("INSTANCE_STATE_".length)} ${stateReason}`);
    return states.filter((state, index) => state !== states[index - 1]);
  }

  async untilState(id: string, state: string): Promise<InstanceObservation> {
    await until(() => this.last(id)?.settled === true && this.last(id)?.state === `INSTANCE_STATE_${state}`, `${id} to be ${state}`);
    return this.last(id)!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.keeper.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
