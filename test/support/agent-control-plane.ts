import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { authenticateByCertificate } from "../../platform/grpc/authenticate.ts";
import { type ChannelTls, createGrpcChannel } from "../../platform/grpc/channel.ts";
import { type GrpcClient, grpcClient } from "../../platform/grpc/client.ts";
import { createGrpcServer, type GrpcServer, grpcService } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import {
  EnrollmentServiceDefinition,
  InventoryServiceDefinition,
  type ReportInventoryRequest,
} from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import {
  ClusterServiceDefinition,
  type HeartbeatRequest,
  type HeartbeatResponse,
  type NodeCommand,
  type RegisterNodeRequest,
  type ServiceEndpoint,
} from "../../schema/generated/proto/hypervisor/v1/cluster.ts";

import {
  InstanceAgentServiceDefinition,
  type InstanceObservation,
  InstanceReportServiceDefinition,
  type ReportInstancesRequest,
} from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { InventoryPart } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";

export interface AgentControlPlaneOptions {
  heartbeatIntervalSeconds?: number;
  certificateTtlSeconds?: number;
  /** 127.0.0.1 unless told otherwise. */
  host?: string;
}

/** What an agent's test wants to see and to bend: a real server on a real socket with a real CA, and no store behind it. */
export class AgentControlPlane implements AsyncDisposable {
  readonly registrations: RegisterNodeRequest[] = [];
  readonly heartbeats: HeartbeatRequest[] = [];
  readonly inventories: ReportInventoryRequest[] = [];
  readonly reports: ReportInstancesRequest[] = [];
  /** The next answer to a report asks for a full one. */
  wantsFullReport = false;
  readonly joins: string[] = [];
  renewals = 0;
  /** By node id: who may report it. */
  readonly owners = new Map<string, string>();
  readonly #tokens = new Map<string, { expiresAt: number; joinedKeys: Map<string, string> }>();
  readonly #known = new Map<string, string>();
  /** Digests by node id and part. */
  readonly stored = new Map<string, string>();
  commands: NodeCommand[] = [];
  endpoints: ServiceEndpoint[] = [];
  refuseRegistration: FleetError | null = null;
  refusals = 0;
  /** Answers to heartbeats say so once for each node here. */
  readonly forgotten = new Set<string>();
  clockOffsetMs = 0;
  /** Called after the join was recorded, before it is answered. */
  beforeJoinAnswer: () => Promise<void> = async () => undefined;
  #server: GrpcServer | null = null;
  #port = 0;
  directory = "";
  ca!: CertificateAuthority;
  readonly #options: Required<AgentControlPlaneOptions>;

  private constructor(options: AgentControlPlaneOptions) {
    this.#options = { heartbeatIntervalSeconds: 1, certificateTtlSeconds: 86_400, host: "127.0.0.1", ...options };
  }

  static async start(options: AgentControlPlaneOptions = {}): Promise<AgentControlPlane> {
    const plane = new AgentControlPlane(options);
    plane.directory = await mkdtemp(join(tmpdir(), "fleetgraph-plane-"));
    plane.ca = await CertificateAuthority.open(plane.directory);
    await plane.listen();
    return plane;
  }

  get address(): string {
    return `${this.#options.host}:${this.#port}`;
  }

  /** Serves again on the port it had. */
  async listen(): Promise<void> {
    const own = await this.ca.issueControl("clusters", ["127.0.0.1"]);
    const server = createGrpcServer({
      log: createLogger({ name: "plane", level: "silent" }),
      metrics: new Metrics(),
      authenticate: authenticateByCertificate(this.ca),
      credentials: new ServerTls({ ...own, caPem: this.ca.certificatePem, clientCertificates: "optional" }),
    });
    server.addAll([this.#enrollment(), this.#cluster(), this.#inventory(), this.#instanceReports()]);
    this.#port = await server.listen(this.address);
    this.#server = server;
  }

  async unlisten(): Promise<void> {
    await this.#server?.stop(0);
    this.#server = null;
  }

  /** The token's text, with a secret of its own. */
  createToken({ ttlMs = 60_000, caFingerprint = this.ca.fingerprint, address = this.address } = {}): string {
    const secret = randomBytes(16).toString("base64url");
    this.#tokens.set(secret, { expiresAt: Date.now() + ttlMs, joinedKeys: new Map() });
    return `fgj_${Buffer.from(JSON.stringify({ id: "join-test", secret, ca: caFingerprint, address })).toString("base64url")}`;
  }

  /** What was said about one part of the inventory, in order. */
  reported(part: InventoryPart): ReportInventoryRequest[] {
    return this.inventories.filter((report) => report.part === part);
  }

  /** What was told of an instance, in order. */
  observations(instanceId: string): InstanceObservation[] {
    return this.reports.flatMap(({ observations }) => observations.filter((seen) => seen.instanceId === instanceId));
  }

  /** As the control plane calls an agent on this machine. To be closed. */
  async instanceAgent({
    agentId,
    port,
  }: {
    agentId: string;
    port: number;
  }): Promise<Disposable & GrpcClient<typeof InstanceAgentServiceDefinition>> {
    const channel = createGrpcChannel(`127.0.0.1:${port}`, await this.controlTls(agentId));
    const client = grpcClient(InstanceAgentServiceDefinition, channel, { defaultDeadlineMs: 5000 });
    return Object.assign(client, { [Symbol.dispose]: () => channel.close() });
  }

  /** For calls to an agent, as the control plane makes them. */
  async controlTls(agentId: string): Promise<ChannelTls> {
    return { caPem: this.ca.certificatePem, peerUri: `fleetgraph://agent/${agentId}`, ...(await this.ca.issueControl("compute")) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unlisten();
    await rm(this.directory, { recursive: true, force: true });
  }

  #enrollment() {
    return grpcService(EnrollmentServiceDefinition, {
      join: async ({ token, certificateRequest }) => {
        this.joins.push(token);
        const key = createHash("sha256").update(certificateRequest).digest("hex");
        const found = this.#tokens.get(token);
        if (!found) throw new FleetError("UNAUTHENTICATED", "Unknown.", { reason: "JoinTokenUnknown" });
        if (found.expiresAt <= Date.now()) throw new FleetError("UNAUTHENTICATED", "Expired.", { reason: "JoinTokenExpired" });
        let agentId = found.joinedKeys.get(key);
        if (!agentId && found.joinedKeys.size > 0) throw new FleetError("UNAUTHENTICATED", "Used.", { reason: "JoinTokenUsed" });
        agentId ??= `agent-${randomBytes(6).toString("hex")}`;
        found.joinedKeys.set(key, agentId);
        await this.beforeJoinAnswer();
        return this.#certificate(certificateRequest, agentId);
      },
      renew: async ({ certificateRequest }, { fleet }) => {
        this.renewals += 1;
        return this.#certificate(certificateRequest, agentOf(fleet.identity));
      },
    });
  }

  async #certificate(request: Uint8Array, agentId: string) {
    const signed = await this.ca.signAgent(request, agentId, this.#options.certificateTtlSeconds);
    return { certificate: signed.certificateDer, caCertificate: this.ca.certificateDer, agentId, notAfter: signed.notAfter };
  }

  #cluster() {
    const unused = async () => {
      throw new FleetError("UNIMPLEMENTED", "Agents do not call this.");
    };
    return grpcService(ClusterServiceDefinition, {
      registerNode: async (request, { fleet }) => {
        const agentId = agentOf(fleet.identity);
        if (this.refuseRegistration) {
          this.refusals += 1;
          throw this.refuseRegistration;
        }
        this.registrations.push(request);
        const nodeId = request.nodeId || this.#known.get(agentId) || `node-${randomBytes(6).toString("hex")}`;
        if ((this.owners.get(nodeId) ?? agentId) !== agentId) throw new FleetError("FORBIDDEN", "Not yours.", { reason: "NotYourNode" });
        this.#known.set(agentId, nodeId);
        this.owners.set(nodeId, agentId);
        return { nodeId, heartbeatIntervalSeconds: this.#options.heartbeatIntervalSeconds, leaseTtlSeconds: 30, endpoints: this.endpoints };
      },
      heartbeat: async (request, { fleet }): Promise<HeartbeatResponse> => {
        this.#requireOwn(request.nodeId, agentOf(fleet.identity));
        const receivedAt = new Date(Date.now() + this.clockOffsetMs);
        const nextHeartbeatSeconds = this.#options.heartbeatIntervalSeconds;
        if (this.forgotten.delete(request.nodeId)) return { accepted: false, nextHeartbeatSeconds, commands: [], receivedAt };
        this.heartbeats.push(request);
        this.commands = this.commands.filter(({ id }) => !request.acknowledgedCommandIds.includes(id));
        return { accepted: true, nextHeartbeatSeconds, commands: this.commands, receivedAt };
      },
      deregisterNode: unused,
      getNode: unused,
      listNodes: unused,
      updateNodeStatus: unused,
      getClusterInfo: unused,
      updateNode: unused,
      admitNode: unused,
      setMaintenance: unused,
      assignNode: unused,
      // biome-ignore lint/correctness/useYield: a stream that is never opened
      async *watchNodes() {
        await unused();
      },
    });
  }

  #inventory() {
    return grpcService(InventoryServiceDefinition, {
      reportInventory: async (request, { fleet }) => {
        this.#requireOwn(request.nodeId, agentOf(fleet.identity));
        this.inventories.push(request);
        const key = `${request.nodeId} ${request.part}`;
        const hasContent = PART_FIELDS.some((field) => request[field] !== undefined);
        if (hasContent) this.stored.set(key, request.digest);
        return { wanted: this.stored.get(key) !== request.digest };
      },
    });
  }

  #instanceReports() {
    return grpcService(InstanceReportServiceDefinition, {
      reportInstances: async (request, { fleet }) => {
        this.#requireOwn(request.nodeId, agentOf(fleet.identity));
        this.reports.push(request);
        const fullWanted = this.wantsFullReport;
        this.wantsFullReport = false;
        return { fullWanted };
      },
    });
  }

  #requireOwn(nodeId: string, agentId: string): void {
    if (this.owners.get(nodeId) !== agentId) throw new FleetError("FORBIDDEN", "Not yours.", { reason: "NotYourNode" });
  }
}

const PART_FIELDS = ["hardware", "host", "pci", "usb", "network", "disks", "accelerators"] as const;

function agentOf(identity: unknown): string {
  const { kind, agentId } = (identity ?? {}) as { kind?: string; agentId?: string };
  if (kind !== "agent" || !agentId) throw new FleetError("UNAUTHENTICATED", "A certificate is needed.");
  return agentId;
}
