import type { RequestContext } from "../../../platform/request-context.ts";
import type { ClustersConfig } from "../config.ts";
import { ClockSkews } from "./clock-skew.ts";
import { CLOCK_SKEW } from "./conditions.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { KnownNode, NodeCache, OpenCommand } from "./node-cache.ts";
import type { NodeCommands } from "./node-commands.ts";
import { checkHeartbeat, type RawHeartbeat } from "./node-input.ts";
import { nodeDeregistered, requireAgentOrAdmin, requireOwnNode } from "./node-rights.ts";
import { applyClockSkew, applyHeartbeat, heartbeatNews } from "./node-state.ts";
import type { Heartbeat } from "./node-types.ts";
import type { NodeWriter } from "./node-writer.ts";

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

/** Signs of life. One that brings no news costs no read and no write: it is remembered here and written in a batch. */
export class Heartbeats {
  readonly #parts: HeartbeatParts;
  readonly #skews = new ClockSkews();

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
  }

  /** Rights: the node's own certificate, or admin. Throws FAILED_PRECONDITION (reason NodeDeregistered). */
  async take(ctx: RequestContext, raw: RawHeartbeat): Promise<HeartbeatAnswer> {
    requireAgentOrAdmin(ctx.identity);
    const heartbeat = checkHeartbeat(raw);
    const receivedAt = new Date();
    const { cache, leases } = this.#parts;
    const known = cache.get(heartbeat.nodeId) ?? (await cache.load(heartbeat.nodeId));
    if (known === null) return this.#answer(false, [], receivedAt);
    requireOwnNode(ctx.identity, known);
    if (known.deregistered) throw nodeDeregistered(known.id);

    const commands = await this.#acknowledge(known, heartbeat.acknowledgedCommandIds);
    const news = withoutOwnSkew(heartbeat);
    const skew = this.#skews.observe(known.id, known.skewed, heartbeat.sentAt, receivedAt.getTime());
    if (skew !== undefined || heartbeatNews(known.last, news) !== null) {
      if (!(await this.#store(ctx, news, skew, receivedAt))) return this.#answer(false, [], receivedAt);
    }
    leases.beat(known.id, receivedAt.getTime());
    return this.#answer(true, commands, receivedAt);
  }

  /** False where the node is gone by now. `skew` in ms; null: in step again; undefined: no verdict. */
  #store(ctx: RequestContext, heartbeat: Heartbeat, skew: number | null | undefined, now: Date): Promise<boolean> {
    const { writer } = this.#parts;
    return writer.transaction(async (tx, touched) => {
      // What was known is out of date either way.
      touched.add(heartbeat.nodeId);
      const node = await writer.lock(tx.em, heartbeat.nodeId);
      if (!node) return false;
      requireOwnNode(ctx.identity, node);
      if (node.deregisteredAt !== null) throw nodeDeregistered(node.id);
      const change = () => {
        applyHeartbeat(node, heartbeat, now);
        if (skew !== undefined) applyClockSkew(node, skew === null ? null : skew / 1000, now);
      };
      await writer.change(tx, touched, node, change, now);
      return true;
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

/** Where the receiver can tell the skew itself, what the agent says about it does not count. */
function withoutOwnSkew(heartbeat: Heartbeat): Heartbeat {
  if (heartbeat.sentAt === null || !heartbeat.conditions.some(({ type }) => type === CLOCK_SKEW)) return heartbeat;
  return { ...heartbeat, conditions: heartbeat.conditions.filter(({ type }) => type !== CLOCK_SKEW) };
}
