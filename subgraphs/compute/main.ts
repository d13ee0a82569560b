import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import type { GrpcService } from "../../platform/grpc/server.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Metrics } from "../../platform/observability/metrics.ts";
import { systemContext } from "../../platform/request-context.ts";
import type { ResealCounts } from "../../platform/secrets/reseal.ts";
import type { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import type { ControlCredentials } from "../../platform/tls/control-credentials.ts";
import { AgentDirectory } from "../kit/agents/agent-directory.ts";
import type { Bus } from "../kit/events/bus.ts";
import { EventLog } from "../kit/events/event-log.ts";
import type { Retention } from "../kit/events/retention.ts";
import { createSubgraphHandler, type StoppableHandler } from "../kit/graphql/handler.ts";
import { openStore, type Store } from "../kit/store/orm.ts";
import { type ComputeConfig, DEFAULT_COMPUTE_CONFIG } from "./config.ts";
import { EvacuatedInstance } from "./entities/evacuated-instance.ts";
import { FormerPlacement } from "./entities/former-placement.ts";
import { Instance } from "./entities/instance.ts";
import { InstanceLabel } from "./entities/instance-label.ts";
import { InstanceMove } from "./entities/instance-move.ts";
import { NodeReport } from "./entities/node-report.ts";
import { NodeReservation } from "./entities/node-reservation.ts";
import { RegistryCredential } from "./entities/registry-credential.ts";
import { Task } from "./entities/task.ts";
import { computeService } from "./grpc/compute-service.ts";
import { evacuationService } from "./grpc/evacuation-service.ts";
import { imageCredentialService } from "./grpc/image-credential-service.ts";
import { instanceReportService } from "./grpc/instance-report-service.ts";
import { AddReportingAgent20261208 } from "./migrations/add-reporting-agent.ts";
import { CreateEvacuations20261212 } from "./migrations/create-evacuations.ts";
import { CreateInstances20261128 } from "./migrations/create-instances.ts";
import { CreateMoves20261206 } from "./migrations/create-moves.ts";
import { CreateRegistryCredentials20261206 } from "./migrations/create-registry-credentials.ts";
import { CreateTasks20261205 } from "./migrations/create-tasks.ts";
import { type ComputeContext, computeContext } from "./resolvers/compute-context.ts";
import { computeSchema } from "./schema.ts";
import { ComputeServices } from "./services/compute-services.ts";
import { resealRegistryPasswords } from "./services/images/registry-credentials.ts";
import { INSTANCE_STATES } from "./services/instance-types.ts";

const NAME = "compute";

export interface ComputeOptions {
  /** `sqlite:/path/file.db` or `postgresql://…/database`. */
  databaseUrl: string;
  /** Of the process; it is closed by its owner, after `stop`. */
  bus: Bus;
  /**
   * `host:port` of ClusterService on the agents' port, also where both are in one process. A promise where that port is opened after
   * this subgraph: until then nothing is known of any node.
   */
  clustersAddress: string | Promise<string>;
  /** The control plane's certificate and CA, asked for each new connection. */
  credentials: () => ControlCredentials;
  verifier: TokenVerifier;
  /** Of what the database keeps sealed. Replicas have the same. */
  secrets: SecretKeys;
  log: Logger;
  metrics: Metrics;
  config?: Partial<ComputeConfig>;
  /** How much of the event log is kept. */
  retention?: Partial<Retention>;
}

/** The running subgraph. Ports are the caller's. */
export interface ComputeSubgraph {
  handler: StoppableHandler;
  sdl: string;
  services: ComputeServices;
  /** For :50051. */
  grpcServices(): GrpcService[];
  /** For :50053. */
  agentServices(): GrpcService[];
  /** True while the database answers and the nodes are known. */
  ready(): Promise<boolean>;
  /** Uses the new certificate from now on: after a renewal. */
  renewConnections(): void;
  /** Ends watches and subscriptions with DRAINING, closes connections and database. What agents have still to be told is kept. */
  stop(graceMs?: number): Promise<void>;
}

/** Opens the database, begins to follow the nodes, to tell agents about instances and to serve. Throws where the database cannot be used. */
export async function startComputeSubgraph(options: ComputeOptions): Promise<ComputeSubgraph> {
  const { bus, verifier, metrics, secrets } = options;
  const log = options.log.child({ subgraph: NAME });
  const config = { ...DEFAULT_COMPUTE_CONFIG, ...options.config };
  const store = await openComputeStore(options.databaseUrl, options.log);
  const eventLog = new EventLog(store, bus, { retention: options.retention });
  const stopping = new AbortController();
  const pool = new ChannelPool({ credentials: options.credentials });
  const clusters = async () => pool.lease({ address: await options.clustersAddress, peerUri: "fleetgraph://control/*" });
  const directory = new AgentDirectory({ clusters, log, metrics });
  const ctx = systemContext(NAME, stopping.signal, log);
  const services = new ComputeServices({ store, log: eventLog, directory, pool, clusters, secrets, metrics, config, ctx });
  const { schema, sdl } = computeSchema();
  const handler = createSubgraphHandler<ComputeContext>({
    name: NAME,
    schema,
    verifier,
    log,
    metrics,
    createContext: (request) => computeContext(services, request),
  });
  eventLog.start();
  services.start();
  directory.start();
  watchInstances(metrics, store);
  return {
    handler,
    sdl,
    services,
    grpcServices: () => [computeService(services)],
    agentServices: () => [
      instanceReportService(services.reports),
      imageCredentialService(services.images.credentials),
      evacuationService(services.evacuations),
      // For the control plane's other parts.
      computeService(services),
    ],
    ready: async () => directory.synced && (await store.isReachable()),
    renewConnections: () => pool.renew(),
    async stop(graceMs = 5_000) {
      await handler.drain(graceMs);
      stopping.abort();
      await eventLog.stop();
      await directory.stop();
      await services.stop();
      pool.close();
      await store.close();
    },
  };
}

/** The subgraph's SDL, without a database. */
export function computeSdl(): string {
  return computeSchema().sdl;
}

/** For `fleetgraph secrets rotate`: works on the database alone, also while servers run on it. */
export async function resealComputeSecrets(databaseUrl: string, keys: SecretKeys, log: Logger): Promise<ResealCounts> {
  const store = await openComputeStore(databaseUrl, log);
  try {
    return await resealRegistryPasswords(store, keys, log);
  } finally {
    await store.close();
  }
}

/** The database with its migrations run. */
export function openComputeStore(url: string, log: Logger): Promise<Store> {
  const entities = [
    Instance,
    InstanceLabel,
    NodeReservation,
    NodeReport,
    Task,
    InstanceMove,
    FormerPlacement,
    RegistryCredential,
    EvacuatedInstance,
  ];
  const migrations = [
    CreateInstances20261128,
    CreateTasks20261205,
    CreateMoves20261206,
    CreateRegistryCredentials20261206,
    CreateEvacuations20261212,
    AddReportingAgent20261208,
  ];
  return openStore({ name: NAME, url, entities, migrations, log });
}

/** Counted when the metrics are read. */
function watchInstances(metrics: Metrics, store: Store): void {
  metrics.gauge("fleetgraph_instances", "Instances by state, deleted and unmanaged ones left out.", ["state"], async (gauge) => {
    const rows = await store
      .read((em) =>
        em.execute<Array<{ state: string; count: number | string }>>(
          "select state, count(*) as count from instance where managed = true and deleted_at is null group by state",
        ),
      )
      .catch(() => null);
    const counts = new Map(rows?.map(({ state, count }) => [state, Number(count)]));
    for (const state of INSTANCE_STATES) if (rows !== null && state !== "DELETED") gauge.set({ state }, counts.get(state) ?? 0);
  });
}
