import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import type { InstancePlan } from "../../agent/drivers/instance-driver.ts";
import type { LibvirtMigrations } from "../../agent/drivers/libvirt/migration/libvirt-migrations.ts";
import { socketDirectory } from "../../agent/drivers/libvirt/migration/socket-directory.ts";
import type { CarryConnection } from "../../agent/drivers/migration-driver.ts";
import { migrationTunnelService } from "../../agent/grpc/migration-tunnel-service.ts";
import { tunnelTo } from "../../agent/migration/tunnel-client.ts";
import { authenticateByCertificate } from "../../platform/grpc/authenticate.ts";
import { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import { createGrpcServer, type GrpcServer } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { readOnlyCa } from "../../platform/tls/certificate-authority.ts";
import type { MigrationProgress } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import { agentKeyPair, temporaryCa } from "./certificates.ts";
import { DriverHost, soon } from "./driver-host.ts";

const log = createLogger({ name: "test", level: "silent" });
const MIB = 2 ** 20;

export interface MovingOptions {
  bandwidthBps?: number;
  maxDowntimeMs?: number;
  autoConvergeSeconds?: number;
  onProgress?: (progress: MigrationProgress) => void;
  signal?: AbortSignal;
}

/** An instance on its way, step by step, as the control plane leads it. */
export class Moving {
  readonly migrationId = randomBytes(8).toString("hex");
  readonly plan: InstancePlan;
  readonly source: DriverHost;
  readonly destination: DriverHost;
  copiesDisks = false;
  /** How often the source's part ended. */
  ended = 0;
  readonly ticket = randomBytes(24).toString("base64url");
  readonly #carry: CarryConnection;
  #description = "";
  #cookie = "";
  #destination = "";
  #finished = "";

  constructor(
    plan: InstancePlan,
    source: DriverHost,
    destination: DriverHost,
    carryTo: (ticket: string, migrationId: string) => CarryConnection,
  ) {
    this.plan = plan;
    this.source = source;
    this.destination = destination;
    this.#carry = carryTo(this.ticket, this.migrationId);
  }

  /** Names of the checks that failed, with their messages. */
  async check(): Promise<Record<string, string>> {
    const { description, probeName, failed } = await migrationsOf(this.source).describe(this.plan, soon());
    if (failed.length > 0) return Object.fromEntries(failed.map(({ name, message }) => [name, message]));
    this.#description = description;
    const request = { nodeId: this.#there.nodeId, instanceId: this.plan.instanceId, description, probeName, spec: this.plan.spec };
    const { checks, copiesDisks } = await migrationsOf(this.destination).check(request, soon());
    this.copiesDisks = copiesDisks;
    return Object.fromEntries(checks.filter(({ passed }) => !passed).map(({ name, message }) => [name, message]));
  }

  /** Up to the guest's being awaited. */
  async prepare(): Promise<void> {
    const { copiesDisks } = this;
    const onEnded = () => {
      this.ended += 1;
    };
    const begun = await migrationsOf(this.source).begin({ ...this.#here, copiesDisks }, onEnded, soon());
    const request = { ...this.#there, ...begun, copiesDisks, ticket: this.ticket, description: this.#description };
    const prepared = await migrationsOf(this.destination).prepare(request, soon());
    this.#cookie = prepared.cookie;
    this.#destination = prepared.destination;
  }

  async perform({ onProgress = () => undefined, signal = soon(), ...limits }: MovingOptions = {}): Promise<void> {
    const request = {
      ...this.#here,
      ...{ copiesDisks: this.copiesDisks, cookie: this.#cookie, destination: this.#destination, ticket: this.ticket },
      ...{ destinationNodeId: this.#there.nodeId, destinationAddress: "", destinationPeer: "" },
      ...{ maxDowntimeMs: 0, bandwidthBps: 0, autoConvergeSeconds: 0 },
      ...limits,
    };
    this.#cookie = await migrationsOf(this.source).perform(request, this.#carry, onProgress, signal);
  }

  async finish(cancelled = false): Promise<boolean> {
    const request = { ...this.#there, cancelled, cookie: cancelled ? "" : this.#cookie };
    const { running, cookie } = await migrationsOf(this.destination).finish(request, soon());
    this.#finished = cookie;
    return running;
  }

  async confirm(cancelled = false): Promise<boolean> {
    return (await migrationsOf(this.source).confirm({ ...this.#here, cancelled, cookie: this.#finished }, soon())).running;
  }

  /** The placement at the destination. */
  get moved(): InstancePlan {
    return { ...this.plan, nodeId: this.#there.nodeId, generation: this.plan.generation + 1 };
  }

  /** Where its sockets are, while there are any. */
  get socketDirectories(): string[] {
    const directory = ({ host }: DriverHost) => join(host.libvirt.directory, "migrations");
    return [
      socketDirectory(directory(this.source), this.migrationId, "source"),
      socketDirectory(directory(this.destination), this.migrationId, "destination"),
    ];
  }

  /** What the source and the destination have: "RUNNING ABSENT". */
  async inspect(): Promise<string> {
    const [here, there] = [
      await migrationsOf(this.source).inspect(this.#here, soon()),
      await migrationsOf(this.destination).inspect(this.#there, soon()),
    ];
    return `${here.state} ${there.state}`;
  }

  /** All of it; gives the placement at the destination. What the source had is removed as the control plane has it removed. */
  async complete(limits: MovingOptions = {}): Promise<InstancePlan> {
    const failed = await this.check();
    if (Object.keys(failed).length > 0) throw new Error(`It cannot move: ${JSON.stringify(failed)}`);
    await this.prepare();
    await this.perform(limits);
    if (!(await this.finish())) throw new Error("It did not come over.");
    await this.confirm();
    await this.source.driver.remove(this.plan, soon(), { keepDisks: !this.copiesDisks });
    return this.moved;
  }

  get #here() {
    const { instanceId, nodeId, generation } = this.plan;
    return { migrationId: this.migrationId, instanceId, nodeId, generation };
  }

  get #there() {
    const { instanceId, generation } = this.plan;
    return {
      migrationId: this.migrationId,
      instanceId,
      nodeId: `node-of-${this.destination.host.namespace.name}`,
      generation: generation + 1,
    };
  }
}

/** Two simulated machines, with a tunnel as agents have it: gRPC and mTLS. Disks of type hdd are on storage that both share. */
export class MigratingHosts implements AsyncDisposable {
  readonly hosts: readonly [DriverHost, DriverHost];
  /** Of both, for disks of type hdd. */
  readonly sharedDirectory: string;
  readonly #servers: GrpcServer[] = [];
  readonly #pool: ChannelPool;
  /** As a part of the control plane. */
  readonly #controlPool: ChannelPool;
  readonly #ports = new Map<DriverHost, number>();
  readonly #pairs = new Map<DriverHost, { certificatePem: string; keyPem: string; caPem: string }>();
  readonly #remove: () => Promise<void>;

  private constructor(
    hosts: readonly [DriverHost, DriverHost],
    sharedDirectory: string,
    pools: readonly [ChannelPool, ChannelPool],
    remove: () => Promise<void>,
  ) {
    this.hosts = hosts;
    this.sharedDirectory = sharedDirectory;
    [this.#pool, this.#controlPool] = pools;
    this.#remove = remove;
  }

  static async start(index: number): Promise<MigratingHosts> {
    const shared = await mkdtemp(join(tmpdir(), "fg-shared-"));
    const { ca, remove } = await temporaryCa();
    const caPem = ca.certificatePem;
    const pair = await agentKeyPair(ca, "agent-source");
    const hosts = [await DriverHost.start(index, {}, shared), await DriverHost.start(index + 1, {}, shared)] as const;
    const control = await ca.issueControl("compute");
    const pools = [pair, control].map((own) => new ChannelPool({ credentials: () => ({ ...own, caPem }) }));
    const migrating = new MigratingHosts(hosts, shared, pools as [ChannelPool, ChannelPool], async () => {
      await remove();
      await rm(shared, { recursive: true, force: true });
    });
    for (const host of hosts) migrating.#pairs.set(host, { ...(await agentKeyPair(ca, agentOf(host))), caPem });
    for (const host of hosts) await migrating.#listen(host);
    return migrating;
  }

  move(plan: InstancePlan, source: DriverHost, destination: DriverHost): Moving {
    const address = `127.0.0.1:${this.#ports.get(destination)}`;
    const peerUri = `fleetgraph://agent/${agentOf(destination)}`;
    return new Moving(plan, source, destination, (ticket, migrationId) => tunnelTo(this.#pool, { address, peerUri, migrationId, ticket }));
  }

  /** An empty connection with this ticket. */
  async carryTo(destination: DriverHost, migrationId: string, ticket: string, as: "agent" | "control" = "agent"): Promise<void> {
    const target = { address: `127.0.0.1:${this.#ports.get(destination)}`, peerUri: `fleetgraph://agent/${agentOf(destination)}` };
    const connection = new PassThrough();
    connection.end();
    const carry = tunnelTo(as === "agent" ? this.#pool : this.#controlPool, { ...target, migrationId, ticket });
    await carry("memory", connection, soon());
  }

  /** Breaks every tunnel that is open; new ones can be opened. */
  async cutTunnels(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.stop(0)));
    for (const host of this.hosts) await this.#listen(host);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#pool.close();
    this.#controlPool.close();
    await Promise.all(this.#servers.map((server) => server.stop(0)));
    for (const host of this.hosts) await host[Symbol.asyncDispose]();
    await this.#remove();
  }

  async #listen(host: DriverHost): Promise<void> {
    const pair = this.#pairs.get(host)!;
    const { caPem } = pair;
    const trusted = readOnlyCa(caPem);
    const server = createGrpcServer({
      log,
      metrics: new Metrics(),
      authenticate: authenticateByCertificate(trusted, ["control"]),
      credentials: new ServerTls({ ...pair, clientCertificates: "required" }),
      reflection: false,
    });
    server.addAll([
      migrationTunnelService((...ticket) => migrationsOf(host).accept(...ticket), authenticateByCertificate(trusted, ["agent"])),
    ]);
    this.#servers.push(server);
    this.#ports.set(host, await server.listen("127.0.0.1:0"));
  }
}

function agentOf({ host }: DriverHost): string {
  return `agent-${host.namespace.name}`;
}

export function migrationsOf({ driver }: DriverHost): LibvirtMigrations {
  if (driver.migrations === null) throw new Error("This driver moves nothing.");
  return driver.migrations;
}

/** Slow enough that something can happen meanwhile. */
export const SLOWLY = 2 * MIB;
