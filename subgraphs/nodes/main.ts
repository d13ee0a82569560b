import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { ChannelPool } from "../../platform/grpc/channel-pool.ts";
import type { GrpcService } from "../../platform/grpc/server.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { Metrics } from "../../platform/observability/metrics.ts";
import type { ControlCredentials } from "../../platform/tls/control-credentials.ts";
import { AgentCalls } from "../kit/agents/agent-calls.ts";
import { AgentDirectory } from "../kit/agents/agent-directory.ts";
import { createSubgraphHandler, type StoppableHandler } from "../kit/graphql/handler.ts";
import { openStore } from "../kit/store/orm.ts";
import { DEFAULT_NODES_CONFIG, type NodesConfig } from "./config.ts";
import { NodeInventory } from "./entities/node-inventory.ts";
import { inventoryService } from "./grpc/inventory-service.ts";
import { CreateNodeInventories20261125 } from "./migrations/create-node-inventories.ts";
import { type NodesContext, nodesContext } from "./resolvers/nodes-context.ts";
import { nodesSchema } from "./schema.ts";
import { HardwareReads } from "./services/hardware-reads.ts";
import { InventoryCleanUp } from "./services/inventory-clean-up.ts";
import { InventoryReport } from "./services/inventory-report.ts";

const NAME = "nodes";

export interface NodesOptions {
  /** `sqlite:/path/file.db` or `postgresql://…/database`. */
  databaseUrl: string;
  /**
   * `host:port` of ClusterService on the agents' port, also where both are in one process. A promise where that port is opened after
   * this subgraph: until then nothing is known of any node.
   */
  clustersAddress: string | Promise<string>;
  /** The control plane's certificate and CA, asked for each new connection. */
  credentials: () => ControlCredentials;
  verifier: TokenVerifier;
  log: Logger;
  metrics: Metrics;
  config?: Partial<NodesConfig>;
}

/** The running subgraph. Ports are the caller's. */
export interface NodesSubgraph {
  handler: StoppableHandler;
  sdl: string;
  /** For :50051: none yet. */
  grpcServices(): GrpcService[];
  /** For :50053. */
  agentServices(): GrpcService[];
  /** True while the database answers and the nodes are known. */
  ready(): Promise<boolean>;
  /** Uses the new certificate from now on: after a renewal. */
  renewConnections(): void;
  /** Ends what is open, closes connections and database. */
  stop(graceMs?: number): Promise<void>;
}

/** Opens the database, begins to follow the nodes and to serve. Throws where the database cannot be used. */
export async function startNodesSubgraph(options: NodesOptions): Promise<NodesSubgraph> {
  const { verifier, metrics } = options;
  const log = options.log.child({ subgraph: NAME });
  const config = { ...DEFAULT_NODES_CONFIG, ...options.config };
  const store = await openStore({
    name: NAME,
    url: options.databaseUrl,
    entities: [NodeInventory],
    migrations: [CreateNodeInventories20261125],
    log: options.log,
  });
  const pool = new ChannelPool({ credentials: options.credentials });
  const clusters = async () => pool.lease({ address: await options.clustersAddress, peerUri: "fleetgraph://control/*" });
  const directory = new AgentDirectory({ clusters, log, metrics });
  const agents = new AgentCalls({ directory, pool, metrics, limits: config.agentCalls });
  const hardware = new HardwareReads({ store, directory, agents });
  const inventories = new InventoryReport({ store, directory, maxInventoryBytes: config.maxInventoryBytes });
  const cleanUp = new InventoryCleanUp({ store, directory, log, retryMs: config.cleanUpRetryMs });
  const { schema, sdl } = nodesSchema();
  const handler = createSubgraphHandler<NodesContext>({
    name: NAME,
    schema,
    verifier,
    log,
    metrics,
    createContext: (request) => nodesContext(hardware, request),
  });
  directory.start();
  return {
    handler,
    sdl,
    grpcServices: () => [],
    agentServices: () => [inventoryService(inventories)],
    ready: async () => directory.synced && (await store.isReachable()),
    renewConnections: () => pool.renew(),
    async stop(graceMs = 5_000) {
      await handler.drain(graceMs);
      await directory.stop();
      await cleanUp.stop();
      pool.close();
      await store.close();
    },
  };
}

/** The subgraph's SDL, without a database. */
export function nodesSdl(): string {
  return nodesSchema().sdl;
}
