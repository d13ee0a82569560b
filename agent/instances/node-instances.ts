import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Resources } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import { InstanceReportServiceDefinition, type ReportInstancesRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { ControlPlaneConnection } from "../control-plane/connection.ts";
import type { InstanceDriver } from "../drivers/instance-driver.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { HostDrivers } from "./host-drivers.ts";
import { InstanceStore } from "./instance-store.ts";
import { InstanceKeeper } from "./keeper.ts";
import { InstanceReporter } from "./reporter.ts";
import { InstanceSampler } from "./sampler.ts";
import { TypeSupports } from "./type-support.ts";

/** What runs the instances of a node, and what its own configuration allows. */
export interface InstanceSettings {
  /** Closed with the node. */
  drivers: readonly InstanceDriver[];
  /**
   * Reads a text file of the machine that the drivers work on, where that is another than the agent's; null: that cannot be done, and it is not
   * known when it boots.
   */
  readHostFile?: ((path: string) => Promise<string>) | null;
  /** Whether instances that others made may be taken over; true by default. */
  adoption?: boolean;
}

export interface NodeInstancesOptions extends InstanceSettings {
  /** Of this node alone. */
  directory: string;
  host: HostChannel;
  connection: ControlPlaneConnection;
  /** What the host can run has changed. */
  onSupportChanged: () => void;
  log: Logger;
}

/** The instances of a node under the id that it has. */
interface Opened {
  nodeId: string;
  keeper: InstanceKeeper;
  sampler: InstanceSampler;
  reporter: InstanceReporter;
  stop: () => Promise<void>;
}

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";
const REPORT_DEADLINE_MS = 10_000;
/** The first registration does not wait longer for probes. */
const FIRST_SUPPORT_MS = 1500;
const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };

/** The instances of one node: kept, told and sampled from when the node has an id. */
export class NodeInstances {
  readonly #options: NodeInstancesOptions;
  readonly #drivers: HostDrivers;
  readonly #support: TypeSupports;
  readonly #stopping = new AbortController();
  readonly #asking: Promise<void>;
  readonly #firstSupport: Promise<void>;
  #opened: Opened | null = null;
  /** Openings come one after the other. */
  #opening: Promise<unknown> = Promise.resolve();

  constructor(options: NodeInstancesOptions) {
    this.#options = options;
    this.#drivers = new HostDrivers(options.drivers);
    this.#support = new TypeSupports(options.drivers, this.#stopping.signal, () => {
      options.onSupportChanged();
      this.#opened?.reporter.wantFull();
    });
    this.#firstSupport = this.#support.refresh(FIRST_SUPPORT_MS);
    this.#asking = this.#support.run();
  }

  /** What runs them. */
  get drivers(): readonly InstanceDriver[] {
    return this.#drivers.all;
  }

  /** What really works here, as registrations name it: "vm", "container", "microvm". */
  async supportedTypes(): Promise<string[]> {
    await this.#firstSupport;
    return this.#support.current.filter(({ supported }) => supported).map(({ type }) => type.replace("INSTANCE_TYPE_", "").toLowerCase());
  }

  /** Of the managed instances, whether they run or not. */
  get allocated(): Resources {
    return this.#opened?.keeper.allocated() ?? NOTHING;
  }

  /** Throws UNAVAILABLE while they cannot be opened. */
  async keeperOf(nodeId: string): Promise<InstanceKeeper> {
    return (await this.#open(nodeId)).keeper;
  }

  async samplerOf(nodeId: string): Promise<InstanceSampler> {
    return (await this.#open(nodeId)).sampler;
  }

  /** The node has this id, and the control plane knows it: the reports begin. Throws where the state cannot be opened. */
  async registered(nodeId: string): Promise<void> {
    (await this.#open(nodeId)).reporter.registered();
  }

  /** Goes on with what the disk says, before the control plane is reached. What fails is tried again with the registration. */
  resume(nodeId: string): void {
    this.#open(nodeId).catch((error: unknown) => this.#options.log.warn({ nodeId, err: error }, "the node's instances are not open yet"));
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new FleetError("CANCELLED", "The agent is stopping."));
    await this.#opening;
    await this.#opened?.stop();
    await this.#asking;
    await this.#drivers.close();
  }

  async #open(nodeId: string): Promise<Opened> {
    if (this.#opened?.nodeId === nodeId) return this.#opened;
    const opening = this.#opening.then(() => this.#openNext(nodeId));
    this.#opening = opening.catch(() => undefined);
    return opening;
  }

  async #openNext(nodeId: string): Promise<Opened> {
    if (this.#stopping.signal.aborted) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
    if (this.#opened?.nodeId === nodeId) return this.#opened;
    await this.#opened?.stop();
    this.#opened = null;
    const { directory, log } = this.#options;
    try {
      this.#opened = this.#assemble(nodeId, await InstanceStore.open({ directory, log }));
      return this.#opened;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FleetError("UNAVAILABLE", `The agent cannot open its instances (${why}).`, { reason: "StateNotSaved", cause });
    }
  }

  #assemble(nodeId: string, store: InstanceStore): Opened {
    const { adoption = true, log } = this.#options;
    const drivers = this.#drivers;
    const stopping = new AbortController();
    const { signal } = stopping;
    const reporter = new InstanceReporter({
      nodeId,
      session: store.session,
      send: (report) => this.#send(report, signal),
      observe: (tombstones) => keeper.observations(tombstones),
      support: () => this.#support.current,
      tombstones: (limit) => store.tombstones(limit),
      log,
    });
    const keeper: InstanceKeeper = new InstanceKeeper({
      ...{ nodeId, store, drivers, adoption, log },
      readBootId: () => this.#readBootId(),
      onObservation: (observation) => reporter.offer(observation),
      onFullWanted: () => {
        reporter.wantFull();
        void this.#support.refresh(0);
      },
    });
    const sampler = new InstanceSampler({ drivers, running: (ids) => keeper.running(ids), signal });
    const work = keeper.start().then(() => reporter.run(signal));
    const stop = async () => {
      stopping.abort(new FleetError("CANCELLED", "The agent is stopping."));
      await keeper.stop();
      await work;
    };
    return { nodeId, keeper, sampler, reporter, stop };
  }

  async #send(report: ReportInstancesRequest, signal: AbortSignal) {
    const { connection } = this.#options;
    const link = connection.linkFor(InstanceReportServiceDefinition.fullName);
    try {
      return await link.instances.reportInstances(report, { signal, deadlineMs: REPORT_DEADLINE_MS });
    } catch (error) {
      connection.failed(link, FleetError.from(error));
      throw error;
    }
  }

  /** Empty where it cannot be told at all: then nothing is started again after a boot. */
  async #readBootId(): Promise<string> {
    const { host, readHostFile } = this.#options;
    if (readHostFile === null) return "";
    if (readHostFile !== undefined) return (await readHostFile(BOOT_ID_PATH)).trim();
    return (await host.read(BOOT_ID_PATH).catch(() => "")).trim();
  }
}
