import { UniqueConstraintViolationException } from "@mikro-orm/core";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";
import type { BridgeStreams } from "./bridge-streams.ts";
import type { ClusterNodes } from "./cluster-nodes.ts";
import type { HostClaim, HostClaims } from "./host-claims.ts";
import { noBridgingAgent, pinnedKeys, probeHost } from "./host-probe.ts";
import type { HostSecrets } from "./host-secrets.ts";
import { hostClaimLost, type Machine, sameHost } from "./host-types.ts";
import { findMachine } from "./same-host.ts";

export interface AdditionRunParts {
  /** The control plane itself. */
  ctx: RequestContext;
  claims: HostClaims;
  secrets: HostSecrets;
  streams: BridgeStreams;
  directory: AgentDirectory;
  commands: AgentCommands;
  nodes: ClusterNodes;
}

/** The watch of nodes tells of the new one within. */
const WAIT_FOR_NODE_MS = 2_000;
/** An addition that was cut off is given up after this, where nothing but an agent is missing. */
const PATIENCE_MS = 300_000;
const RETRY_MS = 5_000;
/** What says nothing about the host, and may be over soon. */
const PASSING: ReadonlySet<string> = new Set([
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "CONFLICT",
  "RESOURCE_EXHAUSTED",
  "DRAINING",
]);

/** The way of one addition from its stored beginning to a node; each step is stored before the next one is taken. */
export class AdditionRun {
  readonly #parts: AdditionRunParts;

  constructor(parts: AdditionRunParts) {
    this.#parts = parts;
  }

  /**
   * Until the host is a node. Throws why it is none: then nothing is left of it, unless that may pass and the host was found already, or the
   * run was `isContinued` and no agent was there to ask; those are gone on with later.
   */
  async carryOut(claim: HostClaim, isContinued: boolean): Promise<void> {
    const { claims, ctx } = this.#parts;
    try {
      await claims.holding(claim, async () => {
        const begun = await this.#read(claim);
        if (begun.state === "PROBING") await this.#probe(claim, begun);
        await this.#register(claim, await this.#read(claim));
      });
    } catch (error) {
      const failure = FleetError.from(error);
      await this.#failed(claim, failure, isContinued).catch((thrown: unknown) =>
        ctx.log.warn({ err: thrown }, "a failed addition could not be stored"),
      );
      throw failure;
    }
  }

  async #probe(claim: HostClaim, host: BridgedHost): Promise<void> {
    const { ctx, claims, secrets, streams, commands } = this.#parts;
    const access = await secrets.access(host);
    const { agent, found } = await probeHost(ctx, commands, await streams.awaitedCandidates(ctx.signal), access);
    const machine: Machine = { hostUuid: found.host?.uuid ?? null, bootId: found.host?.bootId ?? null };
    const hostKeys = pinnedKeys(host, found);
    try {
      await claims.change(claim, async (row, { em }) => {
        const other = await findMachine(em, machine, row);
        if (other !== null) throw sameHost("uri", other.nodeId);
        const { capacity, supportedInstanceTypes } = found;
        const settings = { ...row.settings, probed: { capacity, supportedInstanceTypes, agentNodeId: agent.node.nodeId } };
        Object.assign(row, { ...machine, hostKeys, settings, agentId: agent.agentId, state: "REGISTERING" });
      });
    } catch (error) {
      // The other one was stored between the look and the commit.
      if (error instanceof UniqueConstraintViolationException) throw sameHost("uri", null);
      throw error;
    }
  }

  async #register(claim: HostClaim, host: BridgedHost): Promise<void> {
    const { ctx, claims, directory, nodes } = this.#parts;
    const agent = directory.get(host.settings.probed?.agentNodeId ?? "");
    if (agent === undefined) {
      // The agent that found it has left the fleet: another one has to.
      await claims.change(claim, (row) => {
        row.state = "PROBING";
      });
      throw noBridgingAgent();
    }
    const nodeId = await nodes.register(ctx, host, agent).catch((error: unknown) => {
      const { code, message, reason, details } = FleetError.from(error);
      throw new FleetError(code, message, { reason, details: { ...details, step: "REGISTER" }, cause: error });
    });
    await claims.change(claim, (row, { now }) => {
      Object.assign(row, { nodeId, state: "READY", generation: 1, assignedAt: now, leaseUntil: 0 });
    });
    ctx.log.info({ nodeId, hostname: host.hostname, agentId: host.agentId }, "a host was added");
    await directory.whenKnown(nodeId, WAIT_FOR_NODE_MS, ctx.signal);
  }

  async #failed(claim: HostClaim, failure: FleetError, isContinued: boolean): Promise<void> {
    const { ctx, claims } = this.#parts;
    if (failure.reason === "HostClaimLost") return;
    if (ctx.signal.aborted) return claims.release(claim);
    const host = await claims.read(claim.id);
    if (host === null) return;
    const isYoung = Date.now() - host.createdAt.getTime() < PATIENCE_MS;
    const goesOn =
      host.state === "REGISTERING" ? PASSING.has(failure.code) : isContinued && isYoung && failure.reason === "NoBridgingAgent";
    if (goesOn) await claims.release(claim, RETRY_MS);
    else await claims.remove(claim);
  }

  async #read({ id, claim }: HostClaim): Promise<BridgedHost> {
    const host = await this.#parts.claims.read(id);
    if (host === null || host.claim !== claim) throw hostClaimLost();
    return host;
  }
}
