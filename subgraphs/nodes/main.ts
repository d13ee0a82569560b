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
import { DEFAULT_NODES_CONFIG, type NodesConfig } from "./config.ts";
import { BridgeStream } from "./entities/bridge-stream.ts";
import { BridgedHost } from "./entities/bridged-host.ts";
import { DeviceAssignment } from "./entities/device-assignment.ts";
import { DeviceReservation } from "./entities/device-reservation.ts";
import { NodeInventoryPart } from "./entities/node-inventory-part.ts";
import { NodeOperation } from "./entities/node-operation.ts";
import { bridgeService } from "./grpc/bridge-service.ts";
import { inventoryService } from "./grpc/inventory-service.ts";
import { CreateBridgedHosts20261208 } from "./migrations/create-bridged-hosts.ts";
import { CreateDevices20261214 } from "./migrations/create-devices.ts";
import { CreateInventoryParts20261207 } from "./migrations/create-inventory-parts.ts";
import { CreateNodeInventories20261125 } from "./migrations/create-node-inventories.ts";
import { CreateOperations20261212 } from "./migrations/create-operations.ts";
import { type NodesContext, nodesContext } from "./resolvers/nodes-context.ts";
import { nodesSchema } from "./schema.ts";
import { HostSecrets } from "./services/hosts/host-secrets.ts";
import { NodesServices } from "./services/nodes-services.ts";

const NAME = "nodes";

export interface NodesOptions {
  /** `sqlite:/path/file.db` or `postgresql://…/database`. */
  databaseUrl: string;
  /** Of the process; it is closed by its owner, after `stop`. */
  bus: Bus;
  /**
   * `host:port` of ClusterService on the agents' port, also where both are in one process. A promise where that port is opened after
   * this subgraph: until then nothing is known of any node.
   */
  clustersAddress: string | Promise<string>;
  /** The same of the compute subgraph's services for the control plane. */
  computeAddress: string | Promise<string>;
  /** The control plane's certificate and CA, asked for each new connection. */
  credentials: () => ControlCredentials;
  verifier: TokenVerifier;
  /** Of what the database keeps sealed. Replicas have the same. */
  secrets: SecretKeys;
  log: Logger;
  metrics: Metrics;
  config?: Partial<NodesConfig>;
  /** How much of the event log is kept. */
  retention?: Partial<Retention>;
}

/** The running subgraph. Ports are the caller's. */
export interface NodesSubgraph {
  handler: StoppableHandler;
  sdl: string;
  services: NodesServices;
  /** For :50051: none yet. */
  grpcServices(): GrpcService[];
  /** For :50053. */
  agentServices(): GrpcService[];
  /** True while the database answers and the nodes are known. */
  ready(): Promise<boolean>;
  /** Uses the new certificate from now on: after a renewal. */
  renewConnections(): void;
  /** Ends watches and subscriptions with DRAINING, closes connections and database. */
  stop(graceMs?: number): Promise<void>;
}

/** Opens the database, begins to follow the nodes and to serve. Throws where the database cannot be used. */
export async function startNodesSubgraph(options: NodesOptions): Promise<NodesSubgraph> {
  const { bus, verifier, metrics, secrets } = options;
  const log = options.log.child({ subgraph: NAME });
  const config = { ...DEFAULT_NODES_CONFIG, ...options.config };
  const store = await openNodesStore(options.databaseUrl, options.log);
  const eventLog = new EventLog(store, bus, { retention: options.retention });
  const stopping = new AbortController();
  const pool = new ChannelPool({ credentials: options.credentials });
  const peerUri = "fleetgraph://control/*";
  const clusters = async () => pool.lease({ address: await options.clustersAddress, peerUri });
  const compute = async () => pool.lease({ address: await options.computeAddress, peerUri });
  const directory = new AgentDirectory({ clusters, log, metrics });
  const ctx = systemContext(NAME, stopping.signal, log);
  const services = new NodesServices({ store, log: eventLog, directory, pool, clusters, compute, secrets, metrics, config, ctx });
  const { schema, sdl } = nodesSchema();
  const handler = createSubgraphHandler<NodesContext>({
    name: NAME,
    schema,
    verifier,
    log,
    metrics,
    createContext: (request) => nodesContext(services, request),
  });
  eventLog.start();
  services.start();
  directory.start();
  return {
    handler,
    sdl,
    services,
    grpcServices: () => [],
    agentServices: () => [inventoryService(services.inventoryReports), bridgeService(services.hosts.lists)],
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
export function nodesSdl(): string {
  return nodesSchema().sdl;
}

/** For `fleetgraph secrets rotate`: works on the database alone, also while servers run on it. */
export async function resealNodesSecrets(databaseUrl: string, keys: SecretKeys, log: Logger): Promise<ResealCounts> {
  const store = await openNodesStore(databaseUrl, log);
  try {
    return await new HostSecrets(store, keys).resealAll({ log });
  } finally {
    await store.close();
  }
}

/** The database with its migrations run. */
export function openNodesStore(url: string, log: Logger): Promise<Store> {
  return openStore({
    name: NAME,
    url,
    entities: [NodeInventoryPart, BridgedHost, BridgeStream, NodeOperation, DeviceAssignment, DeviceReservation],
    migrations: [
      CreateNodeInventories20261125,
      CreateInventoryParts20261207,
      CreateBridgedHosts20261208,
      CreateOperations20261212,
      CreateDevices20261214,
    ],
    log,
  });
}
