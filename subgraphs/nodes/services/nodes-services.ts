import type { ChannelLease, ChannelPool } from "../../../platform/grpc/channel-pool.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { AgentCalls } from "../../kit/agents/agent-calls.ts";
import { AgentCommands } from "../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import type { Store } from "../../kit/store/orm.ts";
import type { NodesConfig } from "../config.ts";
import { DeviceServices } from "./devices/device-services.ts";
import { HostServices } from "./hosts/host-services.ts";
import { HardwareEvents } from "./inventory/hardware-events.ts";
import { InventoryCleanUp } from "./inventory/inventory-clean-up.ts";
import { InventoryReads } from "./inventory/inventory-reads.ts";
import { InventoryReport } from "./inventory/inventory-report.ts";
import { LiveReads } from "./inventory/live-reads.ts";
import { NodeTraffic } from "./inventory/node-traffic.ts";
import { NodeLogs } from "./logs/node-logs.ts";
import { OperationServices } from "./operations/operation-services.ts";

export interface NodesServicesParts {
  store: Store;
  log: EventLog;
  directory: AgentDirectory;
  /** With the control plane's certificate. */
  pool: ChannelPool;
  /** A connection to ClusterService, as the control plane. */
  clusters: () => ChannelLease | Promise<ChannelLease>;
  /** A connection to the compute subgraph's services, as the control plane. */
  compute: () => ChannelLease | Promise<ChannelLease>;
  /** Of what the database keeps sealed. */
  secrets: SecretKeys;
  metrics: Metrics;
  config: NodesConfig;
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
}

/** All that the two faces call, wired together. */
export class NodesServices {
  /** Reads from agents. */
  readonly agents: AgentCalls;
  /** Calls to agents that change something, or stream. */
  readonly commands: AgentCommands;
  /** What agents have reported. */
  readonly inventory: InventoryReads;
  /** What changes from second to second. */
  readonly live: LiveReads;
  readonly inventoryReports: InventoryReport;
  readonly hardwareEvents: HardwareEvents;
  readonly traffic: NodeTraffic;
  readonly logs: NodeLogs;
  /** Hosts that are added by URI. */
  readonly hosts: HostServices;
  /** Devices that instances have of their hosts. */
  readonly devices: DeviceServices;
  /** What is done to nodes and takes long. */
  readonly operations: OperationServices;
  readonly #cleanUp: InventoryCleanUp;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(parts: NodesServicesParts) {
    const { store, log, directory, pool, clusters, compute, secrets, metrics, config, ctx } = parts;
    this.agents = new AgentCalls({ directory, pool, metrics, limits: config.agentCalls });
    this.commands = new AgentCommands({ directory, pool, metrics });
    this.inventory = new InventoryReads(store, directory);
    this.live = new LiveReads({ agents: this.agents, ctx, waits: config.liveWaits });
    this.hardwareEvents = new HardwareEvents(log);
    this.traffic = new NodeTraffic(this.commands);
    this.logs = new NodeLogs(this.commands);
    this.inventoryReports = new InventoryReport({ store, directory, maxInventoryBytes: config.maxInventoryBytes });
    directory.listen({ onGone: (nodeId) => this.live.forget(nodeId) });
    this.hosts = new HostServices({
      ...{ store, log, directory, clusters, compute, secrets, ctx },
      commands: this.commands,
      beginDeletion: (request, deletion) => this.operations.requests.delete(request, deletion),
      config: config.bridging,
    });
    this.devices = new DeviceServices({
      ...{ ctx, store, directory, compute, agents: this.agents, commands: this.commands, inventory: this.inventory },
    });
    this.operations = new OperationServices({
      ...{ store, log, directory, clusters, compute, metrics, ctx },
      commands: this.commands,
      remove: (request, { nodeId }) => this.hosts.removals.finish(request, nodeId),
      config: config.operations,
    });
    this.#cleanUp = new InventoryCleanUp({ store, directory, log: ctx.log, retryMs: config.cleanUpRetryMs });
  }

  /** What runs in the background is started here; each loop ends with the context's signal. */
  start(): void {
    this.operations.runner.start();
    this.#loops = Promise.all([this.hosts.run(), this.devices.run()]);
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await this.#cleanUp.stop();
    await this.hosts.stop();
    await this.operations.runner.stop();
    await this.#loops;
  }
}
