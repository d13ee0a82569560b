import { authenticateByCertificate } from "../../platform/grpc/authenticate.ts";
import { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import {
  createGrpcServer,
  type FleetServiceImplementation,
  type GrpcServer,
  type GrpcService,
  grpcService,
} from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import type { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import type { KeyPair } from "../../platform/tls/certificate-files.ts";
import { controlUri } from "../../platform/tls/certificate-names.ts";
import { AgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { type AgentCallLimits, AgentCalls } from "../../subgraphs/kit/agents/agent-calls.ts";
import { AgentDirectory } from "../../subgraphs/kit/agents/agent-directory.ts";
import { agentKeyPair, temporaryCa } from "./certificates.ts";
import { WatchableCluster } from "./watchable-cluster.ts";

export type AgentMethods = FleetServiceImplementation<typeof AgentServiceDefinition>;

/** A control plane's side and agents on real mTLS sockets. Everything that was opened is closed by `close`. */
export class AgentFleet {
  readonly log = createLogger({ name: "test", level: "silent" });
  readonly metrics = new Metrics();
  readonly cluster = new WatchableCluster();
  readonly #closers: Array<() => unknown> = [];

  private constructor(
    readonly ca: CertificateAuthority,
    readonly control: KeyPair,
  ) {}

  static async open(): Promise<AgentFleet> {
    const { ca, remove } = await temporaryCa();
    const fleet = new AgentFleet(ca, await ca.issueControl("nodes"));
    fleet.#closers.push(remove);
    return fleet;
  }

  async close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  /** To be closed with the fleet. */
  keep<T>(thing: T, close: (thing: T) => unknown): T {
    this.#closers.push(() => close(thing));
    return thing;
  }

  /** The agents' port of the control plane; ClusterService is the fleet's own `cluster` unless told otherwise. */
  async servePort(services: GrpcService[] = [grpcService(ClusterServiceDefinition, this.cluster.methods)], port = 0) {
    return this.#serve(await this.ca.issueServer({ hosts: ["127.0.0.1"], uri: controlUri("port") }), services, port);
  }

  /** An agent with its own certificate. */
  async serveAgent(agentId: string, methods: AgentMethods, port = 0) {
    return this.#serve(await agentKeyPair(this.ca, agentId), [grpcService(AgentServiceDefinition, methods)], port);
  }

  /** Services with a certificate of the test's choice. */
  serveServices(pair: KeyPair, services: GrpcService[], port = 0) {
    return this.#serve(pair, services, port);
  }

  async #serve(pair: KeyPair, services: GrpcService[], port: number): Promise<{ server: GrpcServer; port: number; address: string }> {
    const credentials = new ServerTls({ ...pair, caPem: this.ca.certificatePem, clientCertificates: "required" });
    const server = createGrpcServer({
      log: this.log,
      metrics: new Metrics(),
      credentials,
      authenticate: authenticateByCertificate(this.ca),
    });
    server.addAll(services);
    this.keep(server, () => server.stop(0));
    const bound = await server.listen(`127.0.0.1:${port}`);
    return { server, port: bound, address: `127.0.0.1:${bound}` };
  }

  /** Connections with a certificate, the control plane's own unless told otherwise. */
  pool(pair: KeyPair = this.control): ChannelPool {
    const credentials = () => ({ ...pair, caPem: this.ca.certificatePem });
    return this.keep(new ChannelPool({ credentials, settings: { reconnectMs: { first: 100, longest: 200 } } }), (pool) => pool.close());
  }

  /** Not started yet. `address`: of the agents' port. */
  directory(address: string, pool: ChannelPool = this.pool()): AgentDirectory {
    const clusters = () => pool.lease({ address, peerUri: "fleetgraph://control/*" });
    const directory = new AgentDirectory({ clusters, log: this.log, metrics: this.metrics, pauseMs: { first: 20, longest: 100 } });
    return this.keep(directory, () => directory.stop());
  }

  calls(directory: AgentDirectory, limits: Partial<AgentCallLimits> = {}): AgentCalls {
    return new AgentCalls({ directory, pool: this.pool(), metrics: this.metrics, limits });
  }
}
