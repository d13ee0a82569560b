import type { ChannelLease, ChannelPool } from "../../../platform/grpc/channel-pool.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { AgentCalls } from "../../kit/agents/agent-calls.ts";
import { AgentCommands } from "../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import { periodically } from "../../kit/periodic.ts";
import type { Store } from "../../kit/store/orm.ts";
import type { ComputeConfig } from "../config.ts";
import { AllocationDrift } from "./allocation-drift.ts";
import { Consoles } from "./consoles/consoles.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Evacuations } from "./evacuation/evacuations.ts";
import { FleetView } from "./fleet-view.ts";
import { GoneNodes } from "./gone-nodes.ts";
import { Housekeeping } from "./housekeeping.ts";
import { ImageServices } from "./images/image-services.ts";
import { InstanceCreation } from "./instance-creation.ts";
import { InstanceQueries } from "./instance-queries.ts";
import { InstanceReports } from "./instance-reports.ts";
import { InstanceRequests } from "./instance-requests.ts";
import { InstanceWriter } from "./instance-writer.ts";
import { MigrationServices } from "./migrations/migration-services.ts";
import { SnapshotHandler } from "./snapshots/snapshot-handler.ts";
import { SnapshotReads } from "./snapshots/snapshot-reads.ts";
import { SnapshotRequests } from "./snapshots/snapshot-requests.ts";
import { StatsReads } from "./stats-reads.ts";
import { StatsSampler } from "./stats-sampler.ts";
import { deviceHandlers } from "./storage/device-handlers.ts";
import { DeviceRequests } from "./storage/device-requests.ts";
import { StorageReads } from "./storage/storage-reads.ts";
import { StorageRequests } from "./storage/storage-requests.ts";
import { TaskQueries } from "./tasks/task-queries.ts";
import { TaskRequests } from "./tasks/task-requests.ts";
import { TaskRunner } from "./tasks/task-runner.ts";
import { TaskStore } from "./tasks/task-store.ts";

export interface ComputeServicesParts {
  store: Store;
  log: EventLog;
  directory: AgentDirectory;
  /** With the control plane's certificate. */
  pool: ChannelPool;
  /** A connection to ClusterService, as the control plane. */
  clusters: () => ChannelLease | Promise<ChannelLease>;
  /** Of what the database keeps sealed. */
  secrets: SecretKeys;
  metrics: Metrics;
  config: ComputeConfig;
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
}

/** All that the two faces call, wired together. */
export class ComputeServices {
  /** Calls to agents that change something, or stream. */
  readonly commands: AgentCommands;
  readonly queries: InstanceQueries;
  readonly creation: InstanceCreation;
  readonly requests: InstanceRequests;
  readonly reports: InstanceReports;
  readonly consoles: Consoles;
  readonly images: ImageServices;
  readonly migrations: MigrationServices;
  readonly evacuations: Evacuations;
  readonly snapshots: { reads: SnapshotReads; requests: SnapshotRequests };
  readonly tasks: TaskQueries;
  readonly taskRequests: TaskRequests;
  /** Handlers are registered with it here, before it starts. */
  readonly taskRunner: TaskRunner;
  readonly storage: StorageReads;
  readonly storageRequests: StorageRequests;
  readonly devices: DeviceRequests;
  readonly stats: StatsReads;
  readonly sampler: StatsSampler;
  readonly dispatcher: Dispatcher;
  readonly housekeeping: Housekeeping;
  readonly drift: AllocationDrift;
  readonly #goneNodes: GoneNodes;
  readonly #parts: ComputeServicesParts;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(parts: ComputeServicesParts) {
    const { store, log, directory, pool, clusters, secrets, metrics, config, ctx } = parts;
    this.#parts = parts;
    const writer = new InstanceWriter(store);
    const fleet = new FleetView(directory);
    const agents = new AgentCalls({ directory, pool, metrics, limits: config.agentCalls });
    this.commands = new AgentCommands({ directory, pool, metrics });
    this.queries = new InstanceQueries(store, log);
    this.creation = new InstanceCreation({ writer, fleet, config });
    this.requests = new InstanceRequests(writer, fleet);
    this.dispatcher = new Dispatcher({ ctx, writer, directory, pool, metrics, config: config.dispatch });
    this.reports = new InstanceReports({
      writer,
      directory,
      log: ctx.log,
      onLeftover: (leftover) => this.dispatcher.remove(leftover),
    });
    this.consoles = new Consoles({ queries: this.queries, commands: this.commands, agents });
    this.tasks = new TaskQueries(store, log);
    this.taskRunner = new TaskRunner({ ctx, writer, log, metrics, config: config.tasks });
    this.taskRequests = new TaskRequests(writer, (...task) => this.taskRunner.isDecided(...task));
    const { commands, taskRequests } = this;
    const { strategy, agentCalls } = config;
    this.images = new ImageServices({
      writer,
      log,
      directory,
      fleet,
      pool,
      commands,
      taskRequests,
      secrets,
      metrics,
      strategy,
      agentCalls,
    });
    this.snapshots = { reads: new SnapshotReads(agents), requests: new SnapshotRequests(writer, new TaskStore()) };
    for (const handler of SnapshotHandler.all(commands, this.queries)) this.taskRunner.register(handler);
    this.taskRunner.register(this.images.pullHandler);
    this.migrations = new MigrationServices({ ctx, writer, fleet, commands, config });
    this.taskRunner.register(this.migrations.handler);
    const { requests: migrations } = this.migrations;
    this.evacuations = new Evacuations({ writer, migrations, tasks: taskRequests, pauseMs: config.evacuationPauseMs });
    this.storage = new StorageReads(agents);
    this.storageRequests = new StorageRequests(this.commands);
    this.devices = new DeviceRequests(writer, new TaskStore());
    for (const handler of deviceHandlers(store, this.commands)) this.taskRunner.register(handler);
    this.stats = new StatsReads(agents);
    this.sampler = new StatsSampler({ ctx, store, reads: this.stats, tickMs: config.sampleTickMs });
    this.housekeeping = new Housekeeping(ctx, writer, { deletedMs: config.deletedRetentionMs, tasksMs: config.tasks.retentionMs });
    this.drift = new AllocationDrift({ ctx, store, directory, clusters, config });
    this.#goneNodes = new GoneNodes(ctx, writer, directory);
  }

  start(): void {
    const { ctx, config } = this.#parts;
    this.dispatcher.start();
    this.taskRunner.start();
    this.#loops = Promise.all([
      this.images.credentials.resealAll(ctx).catch((error: unknown) => ctx.log.warn({ err: error }, "old secrets were not sealed anew")),
      periodically(ctx, "housekeeping", config.housekeepingMs, () => this.housekeeping.round()),
      periodically(ctx, "looking after nodes that left", config.housekeepingMs, () => this.#goneNodes.round()),
      periodically(ctx, "removing what moved instances left", config.dispatch.sweepMs, () => this.migrations.former.round()),
      periodically(ctx, "comparing allocations", config.driftCheckMs, () => this.drift.round()),
    ]);
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await this.taskRunner.stop();
    await this.sampler.stop();
    await this.#loops;
    await this.#goneNodes.stop();
    await this.dispatcher.stop();
  }
}
