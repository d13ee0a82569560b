import type { Channel } from "nice-grpc";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { grpcClient } from "../../platform/grpc/client.ts";
import type { GrpcServer } from "../../platform/grpc/server.ts";
import { DesiredState, InstanceState, type InstanceStats, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  type ApplyInstanceRequest,
  InstanceObservation,
  InstanceReportServiceDefinition,
  type InstanceTypeSupport,
  ReportInstancesRequest,
  type SampleInstancesRequest,
} from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { RecordedConsoles } from "./recorded-consoles.ts";
import { RecordedDevices } from "./recorded-devices.ts";
import { RecordedImages } from "./recorded-images.ts";
import { RecordedMigrations } from "./recorded-migrations.ts";
import { RecordedPower } from "./recorded-power.ts";
import { RecordedSnapshots } from "./recorded-snapshots.ts";
import { RecordedStorage } from "./recorded-storage.ts";

/** How an agent reaches the control plane, and is reached. */
export interface AgentLink {
  /** Opens the agent's own port, the same as before where there was one. */
  serve(agent: RecordedAgent): Promise<GrpcServer>;
  /** With the agent's certificate; asked before each report. */
  reports(): Promise<Channel>;
}

/** Something on the host, whoever made it. */
interface Native {
  nativeId: string;
  /** Of the mark; empty: others made it. */
  instanceId: string;
  generation: number;
  state: InstanceState;
}

type Seen = Partial<InstanceObservation>;

/**
 * An agent as the control plane sees one: it really serves InstanceAgentService and really reports, in order, one report at a time. What it
 * is told it carries out at once on a host that is a table; a test can hold it, cut it off, kill it, take its disk, or act on the host.
 */
export class RecordedAgent {
  readonly applied: ApplyInstanceRequest[] = [];
  readonly sampled: SampleInstancesRequest[] = [];
  readonly host = new Map<string, Native>();
  readonly images = new RecordedImages();
  readonly consoles = new RecordedConsoles();
  readonly migrations = new RecordedMigrations(this);
  readonly storage = new RecordedStorage();
  readonly snapshots = new RecordedSnapshots();
  readonly power = new RecordedPower(this);
  readonly devices = new RecordedDevices();
  /** Answers instead of carrying out; null: as it does by itself. */
  onApply: ((request: ApplyInstanceRequest) => void) | null = null;
  /** True: what it is told is kept, and not carried out before it is false again. */
  holding = false;
  typeSupport: InstanceTypeSupport[] = [];
  readonly #link: AgentLink;
  readonly #store = new Map<string, { desired: ApplyInstanceRequest; done: boolean; last: Seen }>();
  #server: GrpcServer | null = null;
  #queue: InstanceObservation[] = [];
  #fullDue = false;
  #session = 0;
  #sequence = 0;
  #reporting: Promise<void> | null = null;
  #running = false;

  constructor(
    readonly nodeId: string,
    readonly agentId: string,
    link: AgentLink,
  ) {
    this.#link = link;
  }

  async start(): Promise<void> {
    this.#session += 1;
    this.#sequence = 0;
    this.#running = true;
    this.#server = await this.#link.serve(this);
    this.reportAll();
    for (const [id, { done }] of this.#store) if (!done) this.#carryOut(id);
  }

  /** As SIGKILL does: what was not reported is lost, what is on its disk and on the host is not. */
  async kill(): Promise<void> {
    this.#running = false;
    this.migrations.killed();
    this.#queue = [];
    await this.#server?.stop(0);
    await this.#reporting;
  }

  /** Whether it was ever told what the instance is to be. */
  knows(instanceId: string): boolean {
    return this.#store.has(instanceId);
  }

  loseDisk(): void {
    this.#store.clear();
  }

  /** A copy of what is on its disk; the function puts it back. */
  backUpDisk(): () => void {
    const copy = structuredClone([...this.#store]);
    return () => {
      this.#store.clear();
      for (const [id, entry] of copy) this.#store.set(id, entry);
    };
  }

  /** Goes on with what was held. */
  release(): void {
    this.holding = false;
    for (const [id, { done }] of this.#store) if (!done) this.#carryOut(id);
  }

  reportAll(): void {
    this.#fullDue = true;
    this.#report();
  }

  /** What the host tells of an instance by itself, or what a test wants said; about the newest revision unless told otherwise. */
  observe(instanceId: string, seen: Seen): void {
    const known = this.#store.get(instanceId);
    if (known) known.last = { ...known.last, ...seen };
    this.tell(this.#observation(instanceId, seen));
  }

  /** What a test wants said as it is, in its turn. */
  tell(observation: InstanceObservation): void {
    this.#queue.push(observation);
    this.#report();
  }

  /** Something that others made on the host. */
  found(nativeId: string, seen: Seen): void {
    this.tell(InstanceObservation.fromPartial({ nativeId, type: InstanceType.VM, name: nativeId, made: true, ...seen }));
  }

  async applyInstance(request: ApplyInstanceRequest): Promise<{ revision: number }> {
    this.applied.push(request);
    this.onApply?.(request);
    const known = this.#store.get(request.instanceId)?.desired;
    if (known && request.generation < known.generation) {
      throw new FleetError("FAILED_PRECONDITION", "This placement has been replaced.", {
        reason: "StaleGeneration",
        details: { highestGeneration: known.generation },
      });
    }
    if (known && request.generation === known.generation && request.revision <= known.revision) return { revision: known.revision };
    this.#store.set(request.instanceId, { desired: request, done: false, last: {} });
    // The answer is on its way before anything is carried out.
    setImmediate(() => this.#carryOut(request.instanceId));
    return { revision: request.revision };
  }

  /** Every reading is a new one: its CPU time counts the readings. */
  async sampleInstances(request: SampleInstancesRequest): Promise<{ stats: InstanceStats[] }> {
    this.sampled.push(request);
    const runs = (id: string) => this.#native(id)?.state === InstanceState.RUNNING;
    return { stats: request.instanceIds.filter(runs).map((instanceId) => ({ ...STATS, instanceId, cpuTimeNs: this.sampled.length })) };
  }

  #carryOut(id: string): void {
    const known = this.#store.get(id);
    if (!known || this.holding || !this.#running) return;
    known.done = true;
    const { desired } = known;
    if (desired.adoptNativeId !== "") {
      const native = this.host.get(desired.adoptNativeId);
      if (native) Object.assign(native, { instanceId: id, generation: desired.generation });
    }
    for (const seen of this.#steps(desired)) this.observe(id, { settled: false, ...seen });
    if (desired.desiredState === DesiredState.DELETED) this.#store.delete(id);
  }

  /** Does it, and says what is seen meanwhile. */
  #steps(desired: ApplyInstanceRequest): Seen[] {
    const native = this.#native(desired.instanceId);
    const steps: Seen[] = [];
    if (desired.desiredState === DesiredState.DELETED) {
      if (native) {
        steps.push({ state: InstanceState.STOPPING });
        this.host.delete(native.nativeId);
      }
      return [...steps, { state: InstanceState.DELETED, settled: true }];
    }
    if (!native && desired.madeBefore) return [{ state: InstanceState.ERROR, stateReason: "MISSING", settled: true }];
    if (!native) steps.push({ state: InstanceState.CREATING, activity: "making its disks" });
    const one = native ?? this.#make(desired);
    const goal = GOALS[desired.desiredState] ?? InstanceState.STOPPED;
    const way = desired.restarts > 0 && one.state === goal ? InstanceState.RESTARTING : WAYS[`${one.state} ${goal}`];
    if (way) steps.push({ state: way });
    one.state = goal;
    return [...steps, { state: goal, settled: true }];
  }

  #make({ instanceId, generation }: ApplyInstanceRequest): Native {
    const native = { nativeId: `native-${instanceId}`, instanceId, generation, state: InstanceState.STOPPED };
    this.host.set(native.nativeId, native);
    return native;
  }

  #native(instanceId: string): Native | undefined {
    return [...this.host.values()].find((native) => native.instanceId === instanceId);
  }

  #observation(instanceId: string, seen: Seen): InstanceObservation {
    const desired = this.#store.get(instanceId)?.desired;
    const native = this.#native(instanceId);
    return InstanceObservation.fromPartial({
      instanceId,
      nativeId: native?.nativeId ?? "",
      generation: desired?.generation ?? native?.generation ?? 0,
      revision: desired?.revision ?? 0,
      settled: true,
      stateReason: "REQUESTED",
      made: native !== undefined,
      state: native?.state ?? InstanceState.UNSPECIFIED,
      ...seen,
    });
  }

  #everything(): InstanceObservation[] {
    const told = [...this.#store].map(([id, { last }]) => this.#observation(id, last));
    const others = [...this.host.values()].filter(({ instanceId }) => !this.#store.has(instanceId));
    return [
      ...told,
      ...others.map(({ nativeId, instanceId, generation, state }) =>
        InstanceObservation.fromPartial({
          nativeId,
          instanceId,
          generation,
          state,
          name: nativeId,
          type: InstanceType.VM,
          cpuCores: 1,
          memoryBytes: 2 ** 28,
          made: true,
        }),
      ),
    ];
  }

  #report(): void {
    if (this.#reporting !== null || !this.#running) return;
    this.#reporting = this.#reportWhatIs().finally(() => {
      this.#reporting = null;
      if (this.#running && (this.#queue.length > 0 || this.#fullDue)) this.#report();
    });
  }

  async #reportWhatIs(): Promise<void> {
    while (this.#running && (this.#queue.length > 0 || this.#fullDue)) {
      const full = this.#fullDue;
      this.#fullDue = false;
      // One state after the other, so that each is seen.
      const observations = full ? this.#everything() : this.#queue.slice(0, 1);
      // A full one says all that was waiting to be said.
      const told = full ? this.#queue.length : 1;
      this.#sequence += 1;
      try {
        await this.send({ full, observations, typeSupport: full ? this.typeSupport : [] });
        this.#queue.splice(0, told);
      } catch (error) {
        this.#fullDue ||= full;
        const { code } = FleetError.from(error);
        if (code !== "UNAVAILABLE" && code !== "CANCELLED" && code !== "DRAINING" && code !== "DEADLINE_EXCEEDED") throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /** One report as it is, with the number that is due unless told otherwise. */
  async send(report: Partial<ReportInstancesRequest>): Promise<boolean> {
    const client = grpcClient(InstanceReportServiceDefinition, await this.#link.reports());
    const request = { nodeId: this.nodeId, session: this.#session, sequence: this.#sequence, observedAt: new Date(), ...report };
    const { fullWanted } = await client.reportInstances(ReportInstancesRequest.fromPartial(request), { deadlineMs: 5_000 });
    if (fullWanted) this.#fullDue = true;
    return fullWanted;
  }
}

const GOALS: Partial<Record<DesiredState, InstanceState>> = {
  [DesiredState.RUNNING]: InstanceState.RUNNING,
  [DesiredState.STOPPED]: InstanceState.STOPPED,
  [DesiredState.SUSPENDED]: InstanceState.SUSPENDED,
};

/** What is seen on the way from one state to another. */
const WAYS: Record<string, InstanceState> = {
  [`${InstanceState.STOPPED} ${InstanceState.RUNNING}`]: InstanceState.STARTING,
  [`${InstanceState.RUNNING} ${InstanceState.STOPPED}`]: InstanceState.STOPPING,
  [`${InstanceState.SUSPENDED} ${InstanceState.STOPPED}`]: InstanceState.STOPPING,
};

const STATS: InstanceStats = {
  instanceId: "",
  cpuUsagePercent: 12.5,
  memoryUsageBytes: 1_000,
  diskReadBytes: 2_000,
  diskWriteBytes: 3_000,
  networkRxBytes: 4_000,
  networkTxBytes: 5_000,
  cpuTimeNs: 0,
  memoryCacheBytes: 6_000,
  collectedAt: new Date(),
};
