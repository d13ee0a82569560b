import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../platform/grpc/channel-pool.ts";
import { type GrpcServer, type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import {
  BridgeAgentServiceDefinition,
  type BridgedHost,
  BridgeServiceDefinition,
  type HostAccess,
  ProbedHost,
  type ProbeHostProgress,
} from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { ClusterServiceDefinition, NodeKind, NodeRole, NodeStatus } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { until } from "./until.ts";

/** A machine that agents can reach, as a test describes it. */
export interface ReachableHost {
  hostKey: string;
  password: string;
  privateKey: string;
  uuid: string;
  bootId: string;
  /** What is wrong with it from a step on. */
  fails?: { step: string; reason: string };
}

export const CAPACITY = { cpuCores: 8, memoryBytes: 2 ** 34, diskBytes: 2 ** 40, gpuCount: 0 };
const BEAT_MS = 300;

export interface RecordedBridgeOptions {
  agentId: string;
  hostname: string;
  /** By URI. */
  world: Map<string, ReachableHost>;
  willing?: boolean;
  /** Opens the agent's own port; gives where it is. */
  serve(services: GrpcService[]): Promise<{ server: GrpcServer; port: number }>;
  /** host:port of who has its list. */
  listAddress: string;
  /** To the agents' port of the control plane, with the agent's certificate; null: where ClusterService is. */
  dial(address: string | null): ChannelLease;
}

/**
 * An agent that stands for hosts, as the control plane sees one: it really registers, reports and follows its list over mTLS. The hosts that it
 * reaches are a table.
 */
export class RecordedBridge {
  readonly agentId: string;
  nodeId = "";
  /** What it was given, the last list. */
  hosts: BridgedHost[] = [];
  readonly lists: BridgedHost[][] = [];
  readonly probed: HostAccess[] = [];
  /** Heartbeats of hosts that were refused, by reason. */
  readonly refused: string[] = [];
  /** Held back until it is released: probes answer no sooner. */
  holding: Promise<void> = Promise.resolve();
  readonly #options: RecordedBridgeOptions;
  #life = new AbortController();
  #list = new AbortController();
  #listAddress: string;
  #server: GrpcServer | null = null;
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: RecordedBridgeOptions) {
    this.#options = options;
    this.agentId = options.agentId;
    this.#listAddress = options.listAddress;
  }

  /** Runs until `kill`; gives itself once the control plane knows that it can be given hosts. */
  async start(): Promise<this> {
    const { serve, dial, hostname } = this.#options;
    this.#life = new AbortController();
    const { server, port } = await serve([grpcService(BridgeAgentServiceDefinition, { probeHost: ({ access }) => this.#probe(access) })]);
    this.#server = server;
    using lease = dial(null);
    const own = { hostname, ip: "127.0.0.1", port, role: NodeRole.WORKER, kind: NodeKind.COMPUTE, capacity: CAPACITY };
    this.nodeId = (await lease.client(ClusterServiceDefinition).registerNode({ ...own, nodeId: this.nodeId })).nodeId;
    const before = this.lists.length;
    this.#work = Promise.all([this.#report(this.#life.signal), this.#follow(this.#life.signal)]);
    await until(() => this.lists.length > before, `the list of ${this.agentId}`);
    return this;
  }

  /** Nothing more comes from it. */
  async kill(): Promise<void> {
    this.#life.abort();
    await this.#server?.stop(0);
    await this.#work;
  }

  /** The list is followed anew, from another address where one is given. */
  loseList(address = this.#listAddress): void {
    this.#listAddress = address;
    this.#list.abort();
  }

  /** One heartbeat of a node, whether it is its own or not. */
  async beat(nodeId: string): Promise<void> {
    using lease = this.#options.dial(null);
    const heartbeat = { nodeId, status: NodeStatus.READY, conditions: [], sentAt: new Date() };
    await lease.client(ClusterServiceDefinition).heartbeat(heartbeat, { signal: this.#life.signal });
  }

  async #report(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const nodeId of [this.nodeId, ...this.hosts.map((host) => host.nodeId)]) {
        await this.beat(nodeId).catch((error: unknown) => {
          if (!signal.aborted) this.refused.push(FleetError.from(error).reason ?? FleetError.from(error).code);
        });
      }
      await sleep(BEAT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        using lease = this.#options.dial(this.#listAddress);
        this.#list = new AbortController();
        const request = { nodeId: this.nodeId, willing: this.#options.willing ?? true };
        for await (const { hosts } of lease.client(BridgeServiceDefinition).watchBridgedHosts(request, {
          signal: AbortSignal.any([signal, this.#list.signal]),
        })) {
          this.hosts = hosts;
          this.lists.push(hosts);
        }
      } catch {
        // The control plane is away, or refuses it: as an agent does, it comes back.
      }
      await sleep(100, undefined, { signal }).catch(() => undefined);
    }
    this.hosts = [];
  }

  async *#probe(access: HostAccess | undefined): AsyncGenerator<ProbeHostProgress> {
    if (access === undefined) throw new FleetError("INVALID_ARGUMENT", "access");
    this.probed.push(access);
    const host = this.#options.world.get(access.uri);
    for (const step of ["RESOLVE", "CONNECT", "HOST_KEY", "AUTHENTICATE", "LIBVIRT", "HARDWARE"]) {
      yield { step, host: undefined };
      await this.holding;
      const problem = host === undefined ? { step: "CONNECT", reason: "ConnectFailed" } : problemOf(host, access, step);
      if (problem?.step !== step) continue;
      const code = CODES[problem.reason] ?? "FAILED_PRECONDITION";
      throw new FleetError(code, `It failed: ${problem.reason}.`, { reason: problem.reason, details: { step } });
    }
    yield { step: "DONE", host: host && foundHost(host) };
  }
}

const CODES: Partial<Record<string, "UNAVAILABLE" | "UNAUTHENTICATED">> = {
  ResolveFailed: "UNAVAILABLE",
  ConnectFailed: "UNAVAILABLE",
  AuthenticationFailed: "UNAUTHENTICATED",
};

function problemOf({ hostKey, password, privateKey, fails }: ReachableHost, access: HostAccess, step: string): ReachableHost["fails"] {
  if (fails !== undefined) return fails;
  if (step === "HOST_KEY" && access.hostKeys.length > 0 && !access.hostKeys.includes(hostKey)) return { step, reason: "HostKeyChanged" };
  const isLetIn = access.password === password || access.privateKey === privateKey;
  return step === "AUTHENTICATE" && !isLetIn ? { step, reason: "AuthenticationFailed" } : undefined;
}

function foundHost({ hostKey, uuid, bootId }: ReachableHost): ProbedHost {
  return ProbedHost.fromPartial({
    hostKey,
    hostKeyFingerprint: "SHA256:test",
    host: { uuid, bootId },
    hardware: { memory: { totalBytes: CAPACITY.memoryBytes } },
    capacity: CAPACITY,
    supportedInstanceTypes: ["vm"],
    shell: true,
  });
}
