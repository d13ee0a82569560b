import type { Logger } from "../platform/observability/log.ts";
import { NodeKind, NodeRole, type RegisterNodeResponse } from "../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { Resources } from "../schema/generated/proto/hypervisor/v1/common.ts";
import { ownAddress } from "./address.ts";
import { readCapacity } from "./capacity.ts";
import { HostConditions } from "./conditions.ts";
import { type CommandHandlers, CommandRunner } from "./control-plane/commands.ts";
import type { ControlPlaneConnection } from "./control-plane/connection.ts";
import { InventoryPush } from "./control-plane/inventory-push.ts";
import { NodeSession } from "./control-plane/node-session.ts";
import { readInventory } from "./hardware/inventory.ts";
import type { HostChannel } from "./host/host-channel.ts";
import type { StateFile } from "./identity/state-file.ts";

export interface AgentNodeOptions {
  /** Which of the agent's nodes this is, in its state file. */
  key: string;
  hostname: string;
  host: HostChannel;
  diskPath: string;
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
  log: Logger;
}

/** One node that this agent stands for: its host, its health, and the loops that keep the control plane informed. */
export class AgentNode {
  readonly host: HostChannel;
  readonly #options: AgentNodeOptions;
  readonly #conditions: HostConditions;
  readonly #session: NodeSession;
  readonly #inventory: InventoryPush;
  #stateFailed = false;

  constructor(options: AgentNodeOptions) {
    const { key, host, connection, state, log } = options;
    this.host = host;
    this.#options = options;
    this.#conditions = new HostConditions(host, options.diskPath);
    this.#session = new NodeSession({
      connection,
      reporter: {
        describe: () => this.#describe(),
        conditions: () => this.#readConditions(),
        allocated: async () => NOTHING,
        observeClock: (skewMs, uncertaintyMs) => this.#conditions.observeClock(skewMs, uncertaintyMs),
      },
      commands: new CommandRunner(state, options.commands, log),
      nodeId: state.nodeId(key),
      onRegistered: (response) => this.#onRegistered(response),
      log,
    });
    this.#inventory = new InventoryPush({ connection, nodeId: () => this.nodeId, read: (previous) => readInventory(host, previous), log });
  }

  get nodeId(): string | null {
    return this.#session.nodeId;
  }

  get registered(): Promise<void> {
    return this.#session.registered;
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#session.run(signal), this.#inventory.run(signal)]);
  }

  async #describe() {
    const { hostname, host, diskPath, address, listen, controlPlane, port, region, zone } = this.#options;
    const [capacity, ip] = await Promise.all([
      readCapacity(host, diskPath),
      ownAddress({ configured: address, listenHost: listen.host, controlPlane }),
    ]);
    return {
      hostname,
      ip,
      port,
      role: NodeRole.WORKER,
      kind: NodeKind.COMPUTE,
      region: region ?? "",
      zone: zone ?? "",
      capacity,
      // What the drivers can run; there are none yet, and nothing is claimed that does not work.
      supportedInstanceTypes: [],
      metadata: undefined,
      simulated: false,
      clientRequestId: "",
    };
  }

  async #readConditions() {
    await this.#keepId();
    return this.#conditions.read();
  }

  async #onRegistered(response: RegisterNodeResponse): Promise<void> {
    this.#options.connection.setEndpoints(response.endpoints);
    await this.#keepId();
    this.#inventory.offerNow();
  }

  /** A disk that is full does not keep the node out: the control plane knows it by the agent's certificate. Tried until it works. */
  async #keepId(): Promise<void> {
    const { key, state, log } = this.#options;
    const { nodeId } = this;
    if (nodeId === null || (state.nodeId(key) === nodeId && !this.#stateFailed)) return;
    try {
      await state.setNode(key, nodeId);
      this.#stateFailed = false;
      this.#conditions.observeState(null);
    } catch (error) {
      this.#stateFailed = true;
      this.#conditions.observeState(error instanceof Error ? error.message : String(error));
      log.error({ nodeId, err: error }, "the node's id cannot be kept on disk");
    }
  }
}

const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };
