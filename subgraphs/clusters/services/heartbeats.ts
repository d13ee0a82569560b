import type { Identity } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { GroupCommit, type Outcome } from "../../kit/group-commit.ts";
import type { ClustersConfig } from "../config.ts";
import type { Node } from "../entities/node.ts";
import { ClockSkews } from "./clock-skew.ts";
import { CLOCK_SKEW } from "./conditions.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { KnownNode, NodeCache, OpenCommand } from "./node-cache.ts";
import type { NodeCommands } from "./node-commands.ts";
import { checkHeartbeat, type RawHeartbeat } from "./node-input.ts";
import { nodeDeregistered, requireAgentOrAdmin, requireOwnNode } from "./node-rights.ts";
import { applyClockSkew, applyHeartbeat, heartbeatNews } from "./node-state.ts";
import type { Heartbeat } from "./node-types.ts";
import type { NodeTransaction, NodeWriter } from "./node-writer.ts";

export interface HeartbeatAnswer {
  /** False: no such node; the sender registers again. */
  accepted: boolean;
  nextHeartbeatSeconds: number;
  commands: readonly OpenCommand[];
  /** By this process's clock. */
  receivedAt: Date;
}

export interface HeartbeatParts {
  writer: NodeWriter;
  cache: NodeCache;
  leases: LeaseTable;
  commands: NodeCommands;
  config: Pick<ClustersConfig, "heartbeatIntervalSeconds">;
}

/** A heartbeat with something to store. */
interface News {
  identity: Identity;
  heartbeat: Heartbeat;
  /** In ms; null: in step again; undefined: no verdict. */
  skew: number | null | undefined;
  receivedAt: Date;
}

/** Signs of life. One that brings no news costs no read and no write: it is remembered here and written in a batch. */
export class Heartbeats {
  readonly #parts: HeartbeatParts;
  readonly #skews = new ClockSkews();
  /** Answers whether the node exists. */
  readonly #news: GroupCommit<News, boolean>;

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
    this.#news = new GroupCommit({ run: (news) => this.#store(news), batch: 100, queue: 20_000 });
  }

  /** Rights: the node's own certificate, or admin. Throws FAILED_PRECONDITION (reason NodeDeregistered). */
  async take(ctx: RequestContext, raw: RawHeartbeat): Promise<HeartbeatAnswer> {
    requireAgentOrAdmin(ctx.identity);
    const heartbeat = withoutOwnSkew(checkHeartbeat(raw));
    const receivedAt = new Date();
    const { cache, leases } = this.#parts;
    const known = cache.get(heartbeat.nodeId) ?? (await cache.load(heartbeat.nodeId));
    if (known === null) return this.#answer(false, [], receivedAt);
    requireOwnNode(ctx.identity, known);
    if (known.deregistered) throw nodeDeregistered(known.id);

    const commands = await this.#acknowledge(known, heartbeat.acknowledgedCommandIds);
    const skew = this.#skews.observe(known.id, known.skewed, heartbeat.sentAt, receivedAt.getTime());
    if (skew !== undefined || heartbeatNews(known.last, heartbeat) !== null) {
      const exists = await this.#news.add({ identity: ctx.identity, heartbeat, skew, receivedAt });
      if (!exists) return this.#answer(false, [], receivedAt);
    }
    leases.beat(known.id, receivedAt.getTime());
    return this.#answer(true, commands, receivedAt);
  }

  #store(news: readonly News[]): Promise<Array<Outcome<boolean>>> {
    return this.#parts.writer.transaction(async (nodes) => {
      const ids = [...new Set(news.map(({ heartbeat }) => heartbeat.nodeId))];
      // What was known is out of date either way.
      for (const id of ids) nodes.touch(id);
      const locked = new Map((await nodes.lock({ id: { $in: ids } })).map((node) => [node.id, node]));
      return news.map((entry) => storeOne(nodes, locked.get(entry.heartbeat.nodeId), entry));
    });
  }

  /** The commands that stay open. */
  async #acknowledge(known: KnownNode, ids: readonly string[]): Promise<readonly OpenCommand[]> {
    if (ids.length === 0 || known.commands.length === 0) return known.commands;
    const acknowledged = known.commands.filter((command) => ids.includes(command.id)).map((command) => command.id);
    if (acknowledged.length === 0) return known.commands;
    await this.#parts.commands.acknowledge(known.id, acknowledged);
    return known.commands.filter((command) => !acknowledged.includes(command.id));
  }

  #answer(accepted: boolean, commands: readonly OpenCommand[], receivedAt: Date): HeartbeatAnswer {
    return { accepted, nextHeartbeatSeconds: this.#parts.config.heartbeatIntervalSeconds, commands, receivedAt };
  }
}

/** The node may have changed since it was last known here: it is judged again. */
function storeOne(nodes: NodeTransaction, node: Node | undefined, { identity, heartbeat, skew, receivedAt }: News): Outcome<boolean> {
  if (!node) return { value: false };
  try {
    requireOwnNode(identity, node);
    if (node.deregisteredAt !== null) throw nodeDeregistered(node.id);
  } catch (error) {
    if (error instanceof FleetError) return { error };
    throw error;
  }
  const change = () => {
    applyHeartbeat(node, heartbeat, receivedAt);
    if (skew !== undefined) applyClockSkew(node, skew === null ? null : skew / 1000, receivedAt);
  };
  nodes.change(node, change, receivedAt);
  return { value: true };
}

/** Where the receiver can tell the skew itself, what the agent says about it does not count. */
function withoutOwnSkew(heartbeat: Heartbeat): Heartbeat {
  if (heartbeat.sentAt === null || !heartbeat.conditions.some(({ type }) => type === CLOCK_SKEW)) return heartbeat;
  return { ...heartbeat, conditions: heartbeat.conditions.filter(({ type }) => type !== CLOCK_SKEW) };
}
