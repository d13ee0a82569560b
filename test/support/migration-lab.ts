import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { type RequestContext, systemContext } from "../../platform/request-context.ts";
import { Node, NodeRole, NodeStatus } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { Instance } from "../../subgraphs/compute/entities/instance.ts";
import { InstanceMove } from "../../subgraphs/compute/entities/instance-move.ts";
import { openComputeStore } from "../../subgraphs/compute/main.ts";
import type { FleetView } from "../../subgraphs/compute/services/fleet-view.ts";
import { checkCreation } from "../../subgraphs/compute/services/instance-input.ts";
import { InstanceWriter } from "../../subgraphs/compute/services/instance-writer.ts";
import { MigrationAgents } from "../../subgraphs/compute/services/migrations/migration-agents.ts";
import { MigrationHandler } from "../../subgraphs/compute/services/migrations/migration-handler.ts";
import type { MigrationCheckpoint } from "../../subgraphs/compute/services/migrations/migration-types.ts";
import { MigrationPreflights } from "../../subgraphs/compute/services/migrations/preflights.ts";
import { newInstance } from "../../subgraphs/compute/services/new-instance.ts";
import { findUnbalanced, reserveAnyway } from "../../subgraphs/compute/services/reservations.ts";
import { TaskStore } from "../../subgraphs/compute/services/tasks/task-store.ts";
import type { TaskRun, TaskView } from "../../subgraphs/compute/services/tasks/task-types.ts";
import type { AgentCommands } from "../../subgraphs/kit/agents/agent-commands.ts";
import { nodeRecord } from "../../subgraphs/kit/agents/node-record.ts";
import type { Store } from "../../subgraphs/kit/store/orm.ts";
import { type MigrationAgent, MigrationWorld } from "./migration-world.ts";

const GIB = 2 ** 30;
const log = createLogger({ name: "test", level: "silent" });

/** One call to an agent, as a test may meddle with it. */
export interface AgentCall {
  nodeId: string;
  method: string;
  /** Carries it out. */
  answer(): Promise<unknown>;
}

export interface Ended {
  state: "SUCCEEDED" | "FAILED" | "CANCELLED";
  error: FleetError | null;
  runs: number;
}

/** The control plane died at this point: its run does nothing any more. */
class Crash extends Error {}

/** Migrations' tasks on a real database, with hosts of a MigrationWorld, and with everything that may happen in the hands of the test. */
export class MigrationLab {
  readonly world = new MigrationWorld();
  readonly gone = new Set<string>();
  /** Instead of each call to an agent; null: it is carried out. */
  meddle: ((call: AgentCall) => Promise<unknown>) | null = null;
  /** Around each checkpoint: what it throws is the control plane's end. */
  onSave: (moment: "before" | "after", step: MigrationCheckpoint["step"]) => void = () => undefined;
  readonly store: Store;
  readonly #writer: InstanceWriter;
  readonly #handler: MigrationHandler;
  #run: LabRun | null = null;

  private constructor(
    store: Store,
    readonly directory: string,
  ) {
    this.store = store;
    this.#writer = new InstanceWriter(store);
    const fleet = this.#fleet();
    const agents = new MigrationAgents(this.#commands(), fleet);
    const preflights = new MigrationPreflights({ writer: this.#writer, fleet, agents });
    // Its own tests are those of the whole subgraph; here the source's leftovers go at once.
    const removeNow = async (_ctx: unknown, instanceId: string, nodeId: string) => this.world.remove(nodeId, instanceId);
    this.#handler = new MigrationHandler({ writer: this.#writer, fleet, agents, preflights, former: { removeNow } });
  }

  static async open(): Promise<MigrationLab> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-migrations-"));
    return new MigrationLab(await openComputeStore(`sqlite:${join(directory, "compute.db")}`, log), directory);
  }

  async close(): Promise<void> {
    await this.store.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  crash(): never {
    this.#run?.die();
    throw new Crash("The control plane was killed.");
  }

  cancel(): void {
    this.#run?.cancel();
  }

  /** A VM that runs on a node, reserved there. */
  async running(nodeId: string): Promise<string> {
    const spec = { image: "debian", cpuCores: 2, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: 4 * GIB, boot: true }] };
    const creation = checkCreation({ name: "moves", type: "VM", spec });
    const id = await this.#writer.transaction(async (instances) => {
      const instance = newInstance(instances.em, creation, nodeId);
      Object.assign(instance, { state: "RUNNING", appliedRevision: 1, made: true, nativeId: `native-${instance.id}` });
      await reserveAnyway(instances.em, nodeId, instance);
      instances.create(instance);
      return instance.id;
    });
    this.world.place(nodeId, id, 1);
    return id;
  }

  change(instanceId: string, change: Partial<Instance>): Promise<void> {
    return this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(instanceId);
      if (instance) instances.change(instance, () => Object.assign(instance, change));
    });
  }

  async see(id: string): Promise<Instance> {
    return this.store.read((em) => em.findOneOrFail(Instance, { id }));
  }

  /** Nodes whose reservation is not the sum, and moves that nobody ends. */
  async loose(): Promise<unknown[]> {
    return this.store.read(async (em) => [...(await findUnbalanced(em)), ...(await em.find(InstanceMove, {}))]);
  }

  /** A task as it is stored; its runs are those of `work`. */
  migration(instanceId: string, sourceNodeId: string, targetNodeId: string): Promise<TaskView> {
    const input = { instanceId, sourceNodeId, targetNodeId, maxDowntimeMs: 0, bandwidthBytesPerSecond: 0 };
    return this.#writer.transaction((instances) =>
      new TaskStore().create(instances, { kind: "MIGRATION", input, instanceId, createdBy: "test" }),
    );
  }

  /** Runs it as the engine does, until it has ended: again after a crash, and after what passes. */
  async work(task: TaskView, between: (run: number) => unknown = () => undefined): Promise<Ended> {
    let checkpoint: MigrationCheckpoint | null = null;
    let cancelled = false;
    for (let runs = 1; runs <= 20; runs += 1) {
      const run: LabRun = new LabRun(task, checkpoint, this.onSave);
      if (cancelled) run.cancel();
      this.#run = run;
      const error = await this.#handler.run(run).then(
        () => null,
        (thrown: unknown) => thrown,
      );
      checkpoint = run.stored;
      cancelled = run.cancelled;
      if (run.succeeded) return { state: "SUCCEEDED", error: null, runs };
      const failure = FleetError.from(error);
      if (!run.dead && failure.code !== "UNAVAILABLE") {
        await this.store.transaction(({ em }) => em.execute("update task set finished_at = ? where id = ?", [new Date(), task.id]));
        return { state: cancelled ? "CANCELLED" : "FAILED", error: failure, runs };
      }
      await between(runs);
    }
    throw new Error(`The task does not end; it is at ${checkpoint?.step}.`);
  }

  #fleet(): FleetView {
    const record = (id: string) =>
      nodeRecord(
        Node.fromPartial({
          ...{ id, hostname: `host-of-${id}`, agentId: `agent-of-${id}`, ip: "127.0.0.1", port: 1 },
          ...{ role: NodeRole.WORKER, status: NodeStatus.READY, supportedInstanceTypes: ["vm"] },
          allocatable: { cpuCores: 100_000, memoryBytes: 2 ** 50, diskBytes: 2 ** 52, gpuCount: 0 },
        }),
      );
    const get = (id: string) => (this.gone.has(id) ? undefined : record(id));
    return { get, isGone: (id: string) => this.gone.has(id) } as unknown as FleetView;
  }

  /** Each method of the agents' service, by way of the test. */
  #commands(): Pick<AgentCommands, "call" | "stream"> {
    const client = (nodeId: string, signal: AbortSignal) =>
      new Proxy(this.world.agent(nodeId), {
        get: (agent, method: keyof MigrationAgent) => (request: never) => {
          const answer = async () => agent[method](request, signal) as unknown;
          if (method === "performSource") return this.#frames({ nodeId, method, answer });
          return this.#call({ nodeId, method, answer });
        },
      }) as never;
    const find = (nodeId: string) => {
      if (this.gone.has(nodeId)) throw notFound("Node", nodeId);
      return nodeId;
    };
    return {
      call: async (ctx, nodeId, _service, call) => call(client(find(nodeId), ctx.signal), {}),
      stream: (ctx, nodeId, _service, open) => open(client(find(nodeId), ctx.signal), {}) as never,
    };
  }

  async #call(call: AgentCall): Promise<unknown> {
    if (this.#run?.dead) throw new Crash();
    const answer = await (this.meddle === null ? call.answer() : this.meddle(call));
    if (this.#run?.dead) throw new Crash();
    return answer;
  }

  async *#frames({ nodeId, method, answer }: AgentCall): AsyncGenerator<unknown> {
    const carryOut = async () => {
      const frames: unknown[] = [];
      for await (const frame of (await answer()) as AsyncIterable<unknown>) frames.push(frame);
      return frames;
    };
    yield* (await this.#call({ nodeId, method, answer: carryOut })) as unknown[];
  }
}

class LabRun implements TaskRun<MigrationCheckpoint> {
  readonly ctx: RequestContext;
  readonly undoCtx: RequestContext;
  stored: MigrationCheckpoint | null;
  succeeded = false;
  dead = false;
  cancelled = false;
  readonly #working = new AbortController();
  readonly #held = new AbortController();

  constructor(
    readonly task: TaskView,
    readonly checkpoint: MigrationCheckpoint | null,
    readonly onSave: MigrationLab["onSave"],
  ) {
    this.stored = checkpoint;
    this.ctx = systemContext("test", this.#working.signal, log);
    this.undoCtx = systemContext("test", this.#held.signal, log);
  }

  get signal(): AbortSignal {
    return this.#working.signal;
  }

  die(): void {
    this.dead = true;
    this.#held.abort(new Crash());
    this.#working.abort(new Crash());
  }

  cancel(): void {
    this.cancelled = true;
    this.#working.abort(new FleetError("CANCELLED", "The task was cancelled.", { reason: "TaskCancelled" }));
  }

  async save(checkpoint: MigrationCheckpoint): Promise<void> {
    if (this.dead) throw new Crash();
    this.onSave("before", checkpoint.step);
    // As the database gives it back.
    this.stored = JSON.parse(JSON.stringify(checkpoint)) as MigrationCheckpoint;
    this.onSave("after", checkpoint.step);
  }

  tell(): void {}

  async succeed(): Promise<void> {
    if (this.dead) throw new Crash();
    this.succeeded = true;
  }
}
