import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { NodeStatus } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { NodeRecord } from "../../../kit/agents/node-record.ts";
import { periodically } from "../../../kit/periodic.ts";
import { databaseNow } from "../../../kit/store/clock.ts";
import type { EntityManager, Store } from "../../../kit/store/orm.ts";
import { BridgeStream } from "../../entities/bridge-stream.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";

/** An agent that can be given a host. */
export interface BridgeCandidate {
  agentId: string;
  /** A node of its own machine: how it is called. */
  node: NodeRecord;
  /** Hosts that it has. */
  hosts: number;
}

/** Ids in one statement. */
const BATCH = 500;
const WAIT_FOR_AGENTS_MS = 5_000;
const LOOK_MS = 250;

/** Which agents follow their lists of hosts, at whichever replica. */
export class BridgeStreams {
  readonly #store: Store;
  readonly #directory: AgentDirectory;
  readonly #freshMs: number;
  /** Those of this replica. */
  readonly #own = new Set<string>();

  /** `freshMs`: a stream that no replica vouched for this long has ended with its replica. */
  constructor(store: Store, directory: AgentDirectory, freshMs: number) {
    this.#store = store;
    this.#directory = directory;
    this.#freshMs = freshMs;
  }

  /** Vouches for this replica's streams until the signal. */
  run(ctx: RequestContext): Promise<void> {
    return periodically(ctx, "vouching for agents that stand for hosts", this.#freshMs / 4, () => this.#vouch());
  }

  /** The agent follows its list here; its former stream counts no more. Gives the undo. */
  async opened(agentId: string, nodeId: string, willing: boolean): Promise<() => Promise<void>> {
    const streamId = randomUUID();
    await this.#store.transaction(async ({ em }) => {
      const now = await databaseNow(em, this.#store.dialect);
      await em.execute(
        `insert into bridge_stream (agent_id, stream_id, node_id, willing, seen_at) values (?, ?, ?, ?, ?)
         on conflict (agent_id) do update set stream_id = excluded.stream_id, node_id = excluded.node_id, willing = excluded.willing,
         seen_at = excluded.seen_at`,
        [agentId, streamId, nodeId, willing, now],
      );
    });
    this.#own.add(streamId);
    return async () => {
      this.#own.delete(streamId);
      await this.#store.transaction(({ em }) => em.nativeDelete(BridgeStream, { agentId, streamId }));
    };
  }

  /** The streams that are open, by agent. */
  async open(em: EntityManager): Promise<Map<string, BridgeStream>> {
    const now = await databaseNow(em, this.#store.dialect);
    const streams = await em.find(BridgeStream, { seenAt: { $gt: now - this.#freshMs } });
    return new Map(streams.map((stream) => [stream.agentId, stream]));
  }

  /** Agents that can be given a host, the best first: not in maintenance, with the fewest hosts. */
  candidates(): Promise<BridgeCandidate[]> {
    return this.#store.read(async (em) => {
      const streams = await this.open(em);
      const rows = await em.execute<Array<{ agent_id: string; hosts: number | string }>>(
        "select agent_id, count(*) as hosts from bridged_host where agent_id is not null group by agent_id",
      );
      const hosts = new Map(rows.map((row) => [row.agent_id, Number(row.hosts)]));
      const candidates: BridgeCandidate[] = [];
      for (const { agentId, nodeId, willing } of streams.values()) {
        const node = this.#directory.get(nodeId);
        if (!willing || node?.agentId !== agentId || node.status !== NodeStatus.READY) continue;
        candidates.push({ agentId, node, hosts: hosts.get(agentId) ?? 0 });
      }
      return candidates.sort(
        (a, b) => Number(a.node.maintenance) - Number(b.node.maintenance) || a.hosts - b.hosts || (a.agentId < b.agentId ? -1 : 1),
      );
    });
  }

  /** The same, of those that are wanted. Agents that were just started, or whose control plane was, are waited for; none after 5 s. */
  async awaitedCandidates(signal: AbortSignal, isWanted: (candidate: BridgeCandidate) => boolean = () => true): Promise<BridgeCandidate[]> {
    const until = performance.now() + WAIT_FOR_AGENTS_MS;
    for (;;) {
      const candidates = (await this.candidates()).filter(isWanted);
      if (candidates.length > 0 || performance.now() > until) return candidates;
      await sleep(LOOK_MS, undefined, { signal });
    }
  }

  /** Whether the node is one that an agent stands for: then it is no machine of the agent's own. */
  async isBridged(nodeId: string): Promise<boolean> {
    return this.#store.read(async (em) => (await em.count(BridgedHost, { nodeId })) > 0);
  }

  async #vouch(): Promise<void> {
    const ids = [...this.#own];
    for (let start = 0; start < ids.length; start += BATCH) {
      await this.#store.transaction(async ({ em }) => {
        const seenAt = await databaseNow(em, this.#store.dialect);
        await em.nativeUpdate(BridgeStream, { streamId: { $in: ids.slice(start, start + BATCH) } }, { seenAt });
      });
    }
  }
}
