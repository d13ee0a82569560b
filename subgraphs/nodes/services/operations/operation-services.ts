import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { Metrics } from "../../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { operationPeers } from "./operation-peers.ts";
import { OperationQueries } from "./operation-queries.ts";
import { OperationRequests } from "./operation-requests.ts";
import { OperationRunner } from "./operation-runner.ts";
import { OperationStore } from "./operation-store.ts";
import type { OperationPeers } from "./operation-types.ts";
import type { OperationsConfig } from "./operations-config.ts";

export interface OperationServicesParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  store: Store;
  log: EventLog;
  directory: AgentDirectory;
  clusters: () => ChannelLease | Promise<ChannelLease>;
  compute: () => ChannelLease | Promise<ChannelLease>;
  commands: AgentCommands;
  /** What takes a node out of the fleet; idempotent. */
  remove: OperationPeers["remove"];
  metrics: Metrics;
  config: OperationsConfig;
}

/** All that is done to nodes, wired together. */
export class OperationServices {
  readonly requests: OperationRequests;
  readonly queries: OperationQueries;
  readonly runner: OperationRunner;

  constructor({ ctx, store, log, directory, clusters, compute, commands, remove, metrics, config }: OperationServicesParts) {
    const peers = operationPeers({ clusters, compute, commands, remove });
    const operations = new OperationStore(store);
    this.queries = new OperationQueries(store, log);
    this.runner = new OperationRunner({ ctx, store: operations, peers, metrics, config });
    this.requests = new OperationRequests({ store: operations, peers, directory, config, wake: () => this.runner.wake() });
  }
}
