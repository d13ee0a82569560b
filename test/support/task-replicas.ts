import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { type RequestContext, systemContext } from "../../platform/request-context.ts";
import { DEFAULT_COMPUTE_CONFIG, type TaskConfig } from "../../subgraphs/compute/config.ts";
import { openComputeStore } from "../../subgraphs/compute/main.ts";
import { InstanceWriter } from "../../subgraphs/compute/services/instance-writer.ts";
import { TaskQueries } from "../../subgraphs/compute/services/tasks/task-queries.ts";
import { TaskRequests } from "../../subgraphs/compute/services/tasks/task-requests.ts";
import { TaskRunner } from "../../subgraphs/compute/services/tasks/task-runner.ts";
import { TaskStore } from "../../subgraphs/compute/services/tasks/task-store.ts";
import type { NewTask, TaskHandler, TaskView } from "../../subgraphs/compute/services/tasks/task-types.ts";
import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { EventLog } from "../../subgraphs/kit/events/event-log.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import type { Store } from "../../subgraphs/kit/store/orm.ts";
import { NATS_URL } from "./peer-addresses.ts";
import { temporaryDatabases } from "./temporary-databases.ts";
import { until } from "./until.ts";

const log = createLogger({ name: "test", level: "silent" });

/** Quick enough for tests; a claim lasts long enough for a slow machine to renew it. */
const QUICK: TaskConfig = {
  ...DEFAULT_COMPUTE_CONFIG.tasks,
  leaseMs: 3_000,
  sweepMs: 50,
  firstPauseMs: 10,
  longestPauseMs: 50,
  progressMs: 20,
};

/** One process of the control plane as far as tasks go. */
export interface TaskReplica {
  ctx: RequestContext;
  store: Store;
  writer: InstanceWriter;
  eventLog: EventLog;
  tasks: TaskStore;
  queries: TaskQueries;
  requests: TaskRequests;
  runner: TaskRunner;
  /** Stores a task as a service does. */
  add(task: Partial<NewTask>): Promise<TaskView>;
  see(id: string): Promise<TaskView>;
  untilState(id: string, state: TaskView["state"]): Promise<TaskView>;
  /** Goes on for others at once. */
  stop(): Promise<void>;
  /** As SIGKILL does, as far as the database can tell: nothing more comes from it, and its claims stay until their end. */
  kill(): Promise<void>;
}

/** A database that several replicas share; each has its own connections. */
export class TaskReplicas implements AsyncDisposable {
  readonly #cleanUps: Array<() => Promise<unknown>> = [];
  readonly #variant: string;
  readonly #databaseUrl: string;

  private constructor(variant: string, databaseUrl: string) {
    this.#variant = variant;
    this.#databaseUrl = databaseUrl;
  }

  static async open(variant: string): Promise<TaskReplicas> {
    if (variant === "SQLite") {
      const directory = await mkdtemp(join(tmpdir(), "fleetgraph-tasks-"));
      const replicas = new TaskReplicas(variant, `sqlite:${join(directory, "compute.db")}`);
      replicas.#cleanUps.push(() => rm(directory, { recursive: true, force: true }));
      return replicas;
    }
    const databases = await temporaryDatabases(["compute"]);
    const replicas = new TaskReplicas(variant, databases.urls.compute);
    replicas.#cleanUps.push(() => databases.drop());
    return replicas;
  }

  async start(handlers: TaskHandler[], config: Partial<TaskConfig> = {}): Promise<TaskReplica> {
    const store = await openComputeStore(this.#databaseUrl, log);
    // Processes on one SQLite file have no bus between them: sweeps are what they have.
    const bus: Bus = this.#variant === "SQLite" ? new InProcessBus() : new NatsBus({ url: NATS_URL, name: "test", log });
    const eventLog = new EventLog(store, bus, { sweepIntervalMs: 50 });
    const stopping = new AbortController();
    const ctx = systemContext("test", stopping.signal, log);
    const writer = new InstanceWriter(store);
    const runner = new TaskRunner({ ctx, writer, log: eventLog, metrics: new Metrics(), config: { ...QUICK, ...config } });
    for (const handler of handlers) runner.register(handler);
    eventLog.start();
    runner.start();
    const tasks = new TaskStore();
    const queries = new TaskQueries(store, eventLog);
    let ended: Promise<void> | null = null;
    const end = async (first: () => Promise<void>) => {
      await first();
      stopping.abort();
      await eventLog.stop();
      await runner.stop();
      await bus.close();
      await store.close();
    };
    const see = (id: string) => queries.get(systemContext("test", new AbortController().signal, log), id);
    const replica: TaskReplica = {
      ctx,
      store,
      writer,
      eventLog,
      tasks,
      queries,
      requests: new TaskRequests(writer, (...task) => runner.isDecided(...task)),
      runner,
      add: (task) =>
        writer.transaction((instances) => tasks.create(instances, { kind: "IMAGE_PULL", input: {}, createdBy: "test", ...task })),
      see,
      untilState: async (id, state) => {
        await until(async () => (await see(id)).state === state, `${id} to be ${state}`);
        return see(id);
      },
      stop: () => {
        ended ??= end(async () => undefined);
        return ended;
      },
      kill: () => {
        ended ??= end(() => store.close());
        return ended;
      },
    };
    this.#cleanUps.push(() => replica.stop());
    return replica;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
  }
}
