import { join } from "node:path";
import type { FleetError } from "../platform/errors/fleet-error.ts";
import type { Logger } from "../platform/observability/log.ts";
import { NodeKind, NodeRole, type RegisterNodeResponse } from "../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeCondition, Resources } from "../schema/generated/proto/hypervisor/v1/common.ts";
import { ownAddress } from "./address.ts";
import { readCapacity } from "./capacity.ts";
import { HostConditions } from "./conditions.ts";
import { type CommandHandlers, CommandRunner } from "./control-plane/commands.ts";
import type { ControlPlaneConnection } from "./control-plane/connection.ts";
import { NodeInventory } from "./control-plane/node-inventory.ts";
import { NodeSession } from "./control-plane/node-session.ts";
import type { HostChannel } from "./host/host-channel.ts";
import type { StateFile } from "./identity/state-file.ts";
import { type InstanceSettings, NodeInstances } from "./instances/node-instances.ts";
import { LatestReading } from "./latest-reading.ts";
import { NodeLogs } from "./logs/node-logs.ts";
import { NodeConsoles, type OpenShell } from "./terminal/node-consoles.ts";

export interface AgentNodeOptions {
  /** Which of the agent's nodes this is, in its state file. */
  key: string;
  hostname: string;
  host: HostChannel;
  diskPath: string;
  instances: InstanceSettings;
  /** Opens a shell on the host; null where its configuration does not allow that. */
  openShell: OpenShell | null;
  /** Of journal files, instead of the host's own journal. */
  journalDirectory?: string;
  /** How often the disks' health is read. */
  smartIntervalMs?: number;
  /** Holds what the agent remembers of its nodes' instances. */
  stateDir: string;
  /** Where the control plane reaches the agent, as configured. */
  address?: string;
  listen: { host: string };
  /** Where the agent listens. */
  port: number;
  region?: string;
  zone?: string;
  controlPlane: string;
  connection: ControlPlaneConnection;
  state: StateFile;
  commands: CommandHandlers;
  /** The libvirt URI of its instances; empty where it runs no VMs. */
  uri: string;
  /** Of a host that this agent only stands for; null: the machine that it runs on. */
  bridged: BridgedHostOptions | null;
  log: Logger;
}

/** What is different where the host is another machine. */
export interface BridgedHostOptions {
  nodeId: string;
  kind: NodeKind;
  /** Null while the host is reached; else why not. */
  unreachable: () => string | null;
  /** What the control plane knows of it, for as long as the host cannot be asked. */
  known: { capacity: Resources; supportedInstanceTypes: string[] };
  onAccepted: (sentAt: number, leaseTtlMs: number) => void;
  onRefused: (error: FleetError) => void;
}

const MACHINE_ID = "/etc/machine-id";
/** How long a heartbeat waits for another machine's values. */
const DISTANT_MS = 2000;
const CONNECTING: NodeCondition = {
  ...{ type: "Ready", status: "False", reason: "Connecting", message: "The host has not been looked at yet." },
  lastTransitionTime: undefined,
};

/** One node that this agent stands for: its host, its health, and the loops that keep the control plane informed. */
export class AgentNode {
  readonly host: HostChannel;
  readonly instances: NodeInstances;
  readonly consoles: NodeConsoles;
  readonly logs: NodeLogs;
  readonly #options: AgentNodeOptions;
  readonly #conditions: HostConditions;
  readonly #session: NodeSession;
  readonly #inventory: NodeInventory;
  /** Of another machine, which may be slow: heartbeats do not wait for it. */
  readonly #distant: { capacity: LatestReading<Resources>; conditions: LatestReading<NodeCondition[]> } | null;
  /** As they were when the host could be asked last. */
  #supportedTypes: string[] | null = null;
  #machineId = "";
  #idError: string | null = null;
  #instancesError: string | null = null;

  constructor(options: AgentNodeOptions) {
    const { key, host, connection, state, stateDir, log } = options;
    this.host = host;
    this.instances = new NodeInstances({
      ...options.instances,
      ...{ host, connection, log },
      directory: join(stateDir, "instances", key),
      onSupportChanged: () => this.#session?.reconsider(),
    });
    this.consoles = new NodeConsoles({
      findInstance: async (nodeId, instanceId, signal) => await (await this.instances.keeperOf(nodeId)).find(instanceId, signal),
      openShell: options.openShell,
      log,
    });
    this.logs = new NodeLogs(host, options.bridged === null ? (options.journalDirectory ?? null) : null);
    this.#options = options;
    this.#conditions = new HostConditions(host, options.diskPath, options.bridged?.unreachable);
    this.#distant = options.bridged && {
      capacity: new LatestReading(() => readCapacity(host, options.diskPath), {
        initial: options.bridged.known.capacity,
        waitMs: DISTANT_MS,
      }),
      conditions: new LatestReading(() => this.#conditions.read(), { initial: [CONNECTING], waitMs: DISTANT_MS }),
    };
    this.#session = new NodeSession({
      connection,
      reporter: {
        describe: () => this.#describe(),
        conditions: () => this.#readConditions(),
        allocated: async () => this.instances.allocated,
        observeClock: (skewMs, uncertaintyMs) => this.#conditions.observeClock(skewMs, uncertaintyMs),
      },
      commands: new CommandRunner(state, options.commands, log),
      nodeId: options.bridged?.nodeId ?? state.nodeId(key),
      onRegistered: (response) => this.#onRegistered(response),
      ...(options.bridged && { onAccepted: options.bridged.onAccepted, onRefused: options.bridged.onRefused }),
      log,
    });
    this.#inventory = new NodeInventory({
      ...{ host, connection, log },
      drivers: this.instances.drivers,
      nodeId: () => this.nodeId,
      smartIntervalMs: options.smartIntervalMs,
    });
  }

  get nodeId(): string | null {
    return this.#session.nodeId;
  }

  get registered(): Promise<void> {
    return this.#session.registered;
  }

  /** The host was reached, or no longer is: that is told at once. */
  reachedOrLost(): void {
    this.#session.reconsider();
    this.#inventory.readNow();
  }

  async run(signal: AbortSignal): Promise<void> {
    // What was under way goes on before the control plane is reached.
    if (this.nodeId !== null && this.#options.bridged === null) this.instances.resume(this.nodeId);
    await Promise.all([this.#session.run(signal), this.#inventory.run(signal)]);
    await this.consoles.stop();
    await this.instances.stop();
  }

  async #describe() {
    const { hostname, uri, bridged, address, listen, controlPlane, port, region, zone } = this.#options;
    const [capacity, ip, supportedInstanceTypes, machineId] = await Promise.all([
      this.#readCapacity(),
      ownAddress({ configured: address, listenHost: listen.host, controlPlane }),
      this.instances.supportedTypes(),
      this.#readMachineId(),
    ]);
    if (!isAway(bridged)) this.#supportedTypes = supportedInstanceTypes;
    return {
      hostname,
      ip,
      port,
      role: NodeRole.WORKER,
      kind: bridged?.kind ?? NodeKind.COMPUTE,
      region: region ?? "",
      zone: zone ?? "",
      capacity,
      supportedInstanceTypes: this.#supportedTypes ?? bridged?.known.supportedInstanceTypes ?? [],
      metadata: undefined,
      simulated: false,
      clientRequestId: "",
      uri,
      agentId: "",
      machineId,
    };
  }

  /** Read until the host has told it once; "" for one that has none. */
  async #readMachineId(): Promise<string> {
    if (this.#machineId !== "" || isAway(this.#options.bridged)) return this.#machineId;
    const text = await this.host.read(MACHINE_ID).catch(() => "");
    if (/^[0-9a-f]{32}$/.test(text.trim())) this.#machineId = text.trim();
    return this.#machineId;
  }

  #readCapacity(): Promise<Resources> {
    const { host, diskPath } = this.#options;
    return this.#distant === null ? readCapacity(host, diskPath) : this.#distant.capacity.get();
  }

  async #readConditions() {
    await this.#keepId();
    if (this.#instancesError !== null && this.nodeId !== null) await this.#openInstances(this.nodeId);
    this.#conditions.observeState(this.#idError ?? this.#instancesError);
    return this.#distant === null ? this.#conditions.read() : this.#distant.conditions.get();
  }

  async #onRegistered(response: RegisterNodeResponse): Promise<void> {
    this.#options.connection.setEndpoints(response.endpoints);
    await this.#keepId();
    await this.#openInstances(response.nodeId);
    this.#inventory.offerNow();
  }

  /** Where that fails the node is not ready, and each heartbeat tries again. */
  async #openInstances(nodeId: string): Promise<void> {
    try {
      await this.instances.registered(nodeId);
      this.#instancesError = null;
    } catch (error) {
      this.#instancesError = messageOf(error);
      this.#options.log.error({ nodeId, err: error }, "the node's instances cannot be kept");
    }
  }

  /** A disk that is full does not keep the node out: the control plane knows it by the agent's certificate. Tried until it works. */
  async #keepId(): Promise<void> {
    const { key, state, log } = this.#options;
    const { nodeId } = this;
    if (nodeId === null || (state.nodeId(key) === nodeId && this.#idError === null)) return;
    try {
      await state.setNode(key, nodeId);
      this.#idError = null;
    } catch (error) {
      this.#idError = messageOf(error);
      log.error({ nodeId, err: error }, "the node's id cannot be kept on disk");
    }
  }
}

function isAway(bridged: BridgedHostOptions | null): bridged is BridgedHostOptions {
  return bridged !== null && bridged.unreachable() !== null;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
