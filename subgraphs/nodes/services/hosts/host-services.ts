import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { periodically } from "../../../kit/periodic.ts";
import type { Store } from "../../../kit/store/orm.ts";
import type { NodesConfig } from "../../config.ts";
import { OperationStore } from "../operations/operation-store.ts";
import { AdditionRun } from "./addition-run.ts";
import { BridgeStreams } from "./bridge-streams.ts";
import { BridgedHostLists } from "./bridged-host-lists.ts";
import { ClusterNodes } from "./cluster-nodes.ts";
import { HostAccessChanges } from "./host-access-changes.ts";
import { HostAdditions } from "./host-additions.ts";
import { HostAssignment } from "./host-assignment.ts";
import { HostClaims } from "./host-claims.ts";
import { type DeletionOperations, HostRemovals } from "./host-removals.ts";
import { HostSecrets } from "./host-secrets.ts";

export interface HostServicesParts {
  store: Store;
  log: EventLog;
  directory: AgentDirectory;
  clusters: () => ChannelLease | Promise<ChannelLease>;
  compute: () => ChannelLease | Promise<ChannelLease>;
  commands: AgentCommands;
  secrets: SecretKeys;
  /** Begins the deletion of a node whose instances have to leave first. */
  beginDeletion: DeletionOperations["begin"];
  config: NodesConfig["bridging"];
  /** The control plane itself. */
  ctx: RequestContext;
}

/** Hosts that are added by URI, wired together. */
export class HostServices {
  readonly additions: HostAdditions;
  readonly accessChanges: HostAccessChanges;
  readonly removals: HostRemovals;
  readonly lists: BridgedHostLists;
  readonly #parts: HostServicesParts;
  readonly #streams: BridgeStreams;
  readonly #assignment: HostAssignment;
  readonly #secrets: HostSecrets;

  constructor(parts: HostServicesParts) {
    const { store, log, directory, clusters, compute, commands, beginDeletion, config, ctx } = parts;
    this.#parts = parts;
    const claims = new HostClaims(store);
    const nodes = new ClusterNodes(clusters);
    const secrets = new HostSecrets(store, parts.secrets);
    const streams = new BridgeStreams(store, directory, config.streamMs);
    const run = new AdditionRun({ ctx, claims, secrets, streams, directory, commands, nodes });
    this.#streams = streams;
    this.#secrets = secrets;
    this.additions = new HostAdditions({ ctx, claims, secrets, directory, run });
    this.accessChanges = new HostAccessChanges({ claims, secrets, streams, commands, nodes });
    const underWay = new OperationStore(store);
    const operations = { begin: beginDeletion, requireNone: (nodeId: string) => underWay.requireNone(nodeId) };
    this.removals = new HostRemovals({ ctx, claims, nodes, compute, operations });
    this.lists = new BridgedHostLists({ store, log, directory, streams, secrets });
    this.#assignment = new HostAssignment({ ctx, claims, streams, directory, nodes, settleMs: config.settleMs });
  }

  /** What runs in the background; ends with the context's signal. */
  run(): Promise<unknown> {
    const { ctx, config } = this.#parts;
    return Promise.all([
      this.#secrets.resealAll(ctx).catch((error: unknown) => ctx.log.warn({ err: error }, "old secrets were not sealed anew")),
      this.#streams.run(ctx),
      this.lists.run(ctx),
      periodically(ctx, "giving hosts to agents", config.roundMs, () => this.#assignment.round()),
      periodically(ctx, "going on with adding hosts", config.roundMs, () => this.additions.round()),
      periodically(ctx, "going on with deleting hosts", config.roundMs, () => this.removals.round()),
    ]);
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await this.additions.stop();
  }
}
