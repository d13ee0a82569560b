import DataLoader from "dataloader";
import { LRUCache } from "lru-cache";
import type { Store } from "../../kit/store/orm.ts";
import { Node } from "../entities/node.ts";
import { NodeCommand } from "../entities/node-command.ts";
import { CLOCK_SKEW } from "./conditions.ts";
import { type LastHeartbeat, lastHeartbeatOf } from "./node-state.ts";
import type { CommandType, StringMap } from "./node-types.ts";

export interface OpenCommand {
  id: string;
  type: CommandType;
  parameters: StringMap;
}

/** What has to be known of a node to answer a heartbeat that brings no news. */
export interface KnownNode {
  readonly id: string;
  readonly agentId: string | null;
  readonly deregistered: boolean;
  readonly last: LastHeartbeat;
  /** Its clock is out of step, as its condition says. */
  readonly skewed: boolean;
  /** Not acknowledged yet, oldest first. */
  readonly commands: readonly OpenCommand[];
}

/** More nodes than a fleet has; one that fell out is read again. */
const MAX_NODES = 50_000;
/** No answer carries more; the next ones follow when some are acknowledged. */
const MAX_COMMANDS = 20;

/**
 * What this process knows of nodes, so that a heartbeat without news reads nothing. Entries are forgotten when the node changes, here or
 * (by the event log) in another replica: until that is heard, a heartbeat may be judged by the state a moment ago.
 */
export class NodeCache {
  readonly #store: Store;
  readonly #known = new LRUCache<string, KnownNode>({ max: MAX_NODES });
  /** Reads that are under way: one whose node is forgotten meanwhile is not kept. */
  readonly #reading = new Map<string, { stale: boolean }>();
  readonly #loader: DataLoader<string, KnownNode | null>;

  constructor(store: Store) {
    this.#store = store;
    this.#loader = new DataLoader((ids) => this.#read(ids), {
      cache: false,
      maxBatchSize: 500,
      // After a restart, thousands ask at once.
      batchScheduleFn: (run) => setImmediate(run),
    });
  }

  get(id: string): KnownNode | undefined {
    return this.#known.get(id);
  }

  /** From the database; null where there is no such node. */
  load(id: string): Promise<KnownNode | null> {
    return this.#loader.load(id);
  }

  forget(id: string): void {
    this.#known.delete(id);
    const reading = this.#reading.get(id);
    if (reading) reading.stale = true;
  }

  /** The events could not be followed without a gap. */
  forgetAll(): void {
    this.#known.clear();
    for (const reading of this.#reading.values()) reading.stale = true;
  }

  async #read(ids: readonly string[]): Promise<Array<KnownNode | null>> {
    const unique = [...new Set(ids)];
    const marks = new Map(unique.map((id) => [id, { stale: false }]));
    for (const [id, mark] of marks) this.#reading.set(id, mark);
    try {
      const { nodes, commands } = await this.#store.read(async (em) => ({
        nodes: await em.find(Node, { id: { $in: unique } }),
        commands: await em.find(
          NodeCommand,
          { nodeId: { $in: unique }, acknowledgedAt: null },
          { orderBy: { createdAt: "asc", id: "asc" } },
        ),
      }));
      const open = Map.groupBy(commands, (command) => command.nodeId);
      const known = new Map(nodes.map((node) => [node.id, knownNode(node, open.get(node.id) ?? [])]));
      for (const [id, node] of known) if (marks.get(id)?.stale === false) this.#known.set(id, node);
      return ids.map((id) => known.get(id) ?? null);
    } finally {
      for (const [id, mark] of marks) if (this.#reading.get(id) === mark) this.#reading.delete(id);
    }
  }
}

function knownNode(node: Node, commands: NodeCommand[]): KnownNode {
  return {
    id: node.id,
    agentId: node.agentId,
    deregistered: node.deregisteredAt !== null,
    last: lastHeartbeatOf(node),
    skewed: node.conditions.some(({ type, status }) => type === CLOCK_SKEW && status === "True"),
    commands: commands.slice(0, MAX_COMMANDS).map(({ id, type, parameters }) => ({ id, type, parameters })),
  };
}
