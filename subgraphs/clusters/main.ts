import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { GrpcService } from "../../platform/grpc/server.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Metrics } from "../../platform/observability/metrics.ts";
import { systemContext } from "../../platform/request-context.ts";
import type { ResealCounts } from "../../platform/secrets/reseal.ts";
import type { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import type { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import type { ServiceEndpoint } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { Bus } from "../kit/events/bus.ts";
import { EventLog } from "../kit/events/event-log.ts";
import type { Retention } from "../kit/events/retention.ts";
import { createSubgraphHandler, type StoppableHandler } from "../kit/graphql/handler.ts";
import { openStore, type Store } from "../kit/store/orm.ts";
import { type ClustersConfig, DEFAULT_CLUSTERS_CONFIG } from "./config.ts";
import { Agent } from "./entities/agent.ts";
import { JoinToken } from "./entities/join-token.ts";
import { KubernetesCluster } from "./entities/kubernetes-cluster.ts";
import { Node } from "./entities/node.ts";
import { NodeCommand } from "./entities/node-command.ts";
import { NodeLiveness } from "./entities/node-liveness.ts";
import { ResourcesColumns } from "./entities/resources-columns.ts";
import { clusterService } from "./grpc/cluster-service.ts";
import { enrollmentService } from "./grpc/enrollment-service.ts";
import { AddBridged20261212 } from "./migrations/add-bridged.ts";
import { AddMachineId20261221 } from "./migrations/add-machine-id.ts";
import { AddMaintenance20261207 } from "./migrations/add-maintenance.ts";
import { CreateKubernetesClusters20261216 } from "./migrations/create-kubernetes-clusters.ts";
import { CreateNodes20261120 } from "./migrations/create-nodes.ts";
import { type ClustersContext, clustersContext } from "./resolvers/clusters-context.ts";
import { clustersSchema } from "./schema.ts";
import { ClustersServices } from "./services/clusters-services.ts";
import { createJoinToken, type IssuedJoinToken } from "./services/join-tokens.ts";
import { KubeconfigSecrets } from "./services/kubernetes/kubeconfig-secrets.ts";
import { nodeTotals } from "./services/node-totals.ts";

const NAME = "clusters";

export interface ClustersOptions {
  /** `sqlite:/path/file.db` or `postgresql://…/database`. */
  databaseUrl: string;
  /** Of the process; it is closed by its owner, after `stop`. */
  bus: Bus;
  verifier: TokenVerifier;
  /** Signs agents' certificates. */
  authority: CertificateAuthority;
  /** Of what the database keeps sealed. Replicas have the same. */
  secrets: SecretKeys;
  log: Logger;
  metrics: Metrics;
  config?: Partial<ClustersConfig>;
  /** How much of the event log is kept. */
  retention?: Partial<Retention>;
  /** Told to agents that register: services that are not at the address they call. */
  agentEndpoints?: ServiceEndpoint[];
}

/** The running subgraph. Ports are the caller's. */
export interface ClustersSubgraph {
  handler: StoppableHandler;
  sdl: string;
  services: ClustersServices;
  /** For :50051. */
  grpcServices(): GrpcService[];
  /** For :50053. */
  agentServices(): GrpcService[];
  /** True while the database answers. */
  ready(): Promise<boolean>;
  /** Ends watches and subscriptions with DRAINING, writes what heartbeats told, closes the database. */
  stop(graceMs?: number): Promise<void>;
}

/** Opens the database, starts to judge leases and to serve. Throws where the database cannot be used. */
export async function startClustersSubgraph(options: ClustersOptions): Promise<ClustersSubgraph> {
  const { bus, verifier, authority, secrets, metrics } = options;
  const log = options.log.child({ subgraph: NAME });
  const config = { ...DEFAULT_CLUSTERS_CONFIG, ...options.config };
  const store = await openClustersStore(options.databaseUrl, options.log);
  const eventLog = new EventLog(store, bus, { retention: options.retention });
  const stopping = new AbortController();
  const ctx = systemContext(NAME, stopping.signal, log);
  const services = new ClustersServices({ store, log: eventLog, authority, secrets, config, ctx });
  const { schema, sdl } = clustersSchema();
  const handler = createSubgraphHandler<ClustersContext>({
    name: NAME,
    schema,
    verifier,
    log,
    metrics,
    createContext: (request) => clustersContext(services, request),
  });
  const stop = async (graceMs = 5_000) => {
    await handler.drain(graceMs);
    stopping.abort();
    await eventLog.stop();
    await services.stop();
    await store.close();
  };
  eventLog.start();
  try {
    await services.start();
  } catch (error) {
    await stop(0);
    throw error;
  }
  watchFleet(metrics, store);
  const cluster = clusterService(services, config, options.agentEndpoints ?? []);
  return {
    handler,
    sdl,
    services,
    grpcServices: () => [cluster],
    agentServices: () => [cluster, enrollmentService(services.enrollment)],
    ready: () => store.isReachable(),
    stop,
  };
}

/** The subgraph's SDL, without a database. */
export function clustersSdl(): string {
  return clustersSchema().sdl;
}

/** For `fleetgraph token --join`: works on the database alone, also while servers run on it. Throws INVALID_ARGUMENT. */
export async function issueJoinToken(
  databaseUrl: string,
  log: Logger,
  options: { ttlSeconds: number; uses: number },
): Promise<IssuedJoinToken> {
  const store = await openClustersStore(databaseUrl, log);
  try {
    return await createJoinToken(store, options);
  } finally {
    await store.close();
  }
}

/** For `fleetgraph secrets rotate`: works on the database alone, also while servers run on it. */
export async function resealClustersSecrets(databaseUrl: string, keys: SecretKeys, log: Logger): Promise<ResealCounts> {
  const store = await openClustersStore(databaseUrl, log);
  try {
    return await new KubeconfigSecrets(store, keys).resealAll({ log });
  } finally {
    await store.close();
  }
}

/** The database with its migrations run. */
export function openClustersStore(url: string, log: Logger): Promise<Store> {
  const entities = [Node, ResourcesColumns, NodeLiveness, NodeCommand, JoinToken, Agent, KubernetesCluster];
  const migrations = [
    CreateNodes20261120,
    AddMaintenance20261207,
    AddBridged20261212,
    CreateKubernetesClusters20261216,
    AddMachineId20261221,
  ];
  return openStore({ name: NAME, url, entities, migrations, log });
}

/** Counted when the metrics are read. */
function watchFleet(metrics: Metrics, store: Store): void {
  metrics.gauge("fleetgraph_nodes", "Nodes by status; deregistered ones left out.", ["status"], async (gauge) => {
    const totals = await store.read(nodeTotals).catch(() => null);
    for (const { status, count } of totals?.nodesByStatus ?? []) gauge.set({ status }, count);
  });
  metrics.gauge(
    "fleetgraph_mass_lease_expiry",
    "1 when over 30 % of the nodes that were alive were lost within the last minute: nothing automatic is done then.",
    [],
    async (gauge) => {
      const totals = await store.read(nodeTotals).catch(() => null);
      if (totals) gauge.set(totals.massExpiry ? 1 : 0);
    },
  );
}
