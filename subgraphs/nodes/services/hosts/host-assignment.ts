import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import { decideAssignment } from "./assignment-decision.ts";
import type { BridgeStreams } from "./bridge-streams.ts";
import type { ClusterNodes } from "./cluster-nodes.ts";
import type { HostClaims } from "./host-claims.ts";

export interface HostAssignmentParts {
  ctx: RequestContext;
  claims: HostClaims;
  streams: BridgeStreams;
  directory: AgentDirectory;
  nodes: ClusterNodes;
  settleMs: number;
}

/** Hosts that are given away in one round. */
const BATCH = 100;
const RETRY_MS = 5_000;

type Due = { host: BridgedHost; decision: "give" | "repair" };

/**
 * Gives hosts whose agent died to other agents. Of replicas that see the same only the one that has the claim acts; ClusterService is told
 * first, so that from then on the former agent's heartbeats are refused, and the new one hears of its host last.
 */
export class HostAssignment {
  readonly #parts: HostAssignmentParts;
  /** Hosts that no agent can be found for, so that it is said once. */
  readonly #orphans = new Set<string>();

  constructor(parts: HostAssignmentParts) {
    this.#parts = parts;
  }

  async round(): Promise<void> {
    const { ctx, directory } = this.#parts;
    if (!directory.synced) return;
    for (const { host, decision } of await this.#due()) {
      if (ctx.signal.aborted) return;
      await this.#settle(host, decision).catch((error: unknown) => {
        const { code, reason, message } = FleetError.from(error);
        ctx.log.warn({ nodeId: host.nodeId, code, reason }, `a host could not be given to an agent; trying again: ${message}`);
      });
    }
  }

  async #due(): Promise<Due[]> {
    const { claims, streams, directory, settleMs } = this.#parts;
    return claims.store.read(async (em) => {
      const hosts = await em.find(BridgedHost, { state: "READY" });
      if (hosts.length === 0) return [];
      const [open, now] = [await streams.open(em), await claims.now(em)];
      const due: Due[] = [];
      for (const host of hosts) {
        const stream = open.get(host.agentId ?? "");
        const decision = decideAssignment({
          ...{ host, now, settleMs },
          node: directory.get(host.nodeId ?? ""),
          hasStream: stream?.willing === true,
          agentNode: stream && directory.get(stream.nodeId),
        });
        if (decision === "keep") this.#orphans.delete(host.id);
        else if (due.length < BATCH && host.leaseUntil <= now) due.push({ host, decision });
      }
      return due;
    });
  }

  async #settle({ id, nodeId, agentId, generation }: BridgedHost, decision: "give" | "repair"): Promise<void> {
    const { ctx, claims, nodes } = this.#parts;
    const next = decision === "repair" ? agentId : await this.#choose(agentId);
    if (nodeId === null) return;
    if (next === null) {
      if (!this.#orphans.has(id)) ctx.log.warn({ nodeId, agentId }, "the agent of a host is gone, and no other one can take it");
      this.#orphans.add(id);
      return;
    }
    const claim = await claims.claim(id, { state: "READY", generation, agentId });
    if (claim === null) return;
    try {
      await nodes.assign(ctx, nodeId, next);
      await claims.change(claim, (host, { now }) => {
        Object.assign(host, { agentId: next, generation: generation + 1, assignedAt: now, leaseUntil: 0 });
      });
      this.#orphans.delete(id);
      ctx.log.info({ nodeId, before: agentId, agentId: next, generation: generation + 1, decision }, "a host was given to an agent");
    } catch (error) {
      await claims.release(claim, RETRY_MS);
      throw error;
    }
  }

  /** Not the one that it is taken from: that one's machine may be half dead. */
  async #choose(former: string | null): Promise<string | null> {
    const candidates = await this.#parts.streams.candidates();
    return candidates.find(({ agentId }) => agentId !== former)?.agentId ?? null;
  }
}
