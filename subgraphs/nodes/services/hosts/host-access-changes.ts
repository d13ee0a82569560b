import { UniqueConstraintViolationException } from "@mikro-orm/core";
import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { checkId } from "../../../kit/input-checks.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import type { BridgeStreams } from "./bridge-streams.ts";
import type { ClusterNodes } from "./cluster-nodes.ts";
import type { HostClaim, HostClaims } from "./host-claims.ts";
import { type AccessChange, checkAccessChange, type RawAccessChange } from "./host-input.ts";
import { type FoundHost, noBridgingAgent, pinnedKeys, probeHost } from "./host-probe.ts";
import { accessBy, type HostSecrets } from "./host-secrets.ts";
import { hostClaimLost, type Machine, sameHost } from "./host-types.ts";
import { findMachine } from "./same-host.ts";

export interface HostAccessChangesParts {
  claims: HostClaims;
  secrets: HostSecrets;
  streams: BridgeStreams;
  commands: AgentCommands;
  nodes: ClusterNodes;
}

export interface ChangedAccess {
  nodeId: string;
  hostKeys: string[];
}

/**
 * Changes how a host that was added by URI is reached. The agent that stands for it tries the new way first, beside the old one; only then is it
 * stored, in one step, and the agent takes the host up anew. What is cut off before that changes nothing.
 */
export class HostAccessChanges {
  readonly #parts: HostAccessChangesParts;

  constructor(parts: HostAccessChangesParts) {
    this.#parts = parts;
  }

  /**
   * Rights: admin. Throws NOT_FOUND; INVALID_ARGUMENT; FAILED_PRECONDITION (NotBridged for a node with an agent of its own, AnotherHost); CONFLICT
   * while the host is given to another agent, changed or deleted; ALREADY_EXISTS (SameHost) for another node's machine; and with details.step what
   * the contact failed at.
   */
  async change(ctx: RequestContext, raw: RawAccessChange): Promise<ChangedAccess> {
    requireRole(ctx.identity, "admin");
    const { claims } = this.#parts;
    const by = callerName(ctx.identity);
    const nodeId = checkId("nodeId", raw.nodeId);
    const { id } = await this.#find(ctx, nodeId);
    const claim = await claims.claim(id, { state: "READY", nodeId });
    if (claim === null) {
      throw new FleetError("CONFLICT", "The node is being given to another agent, changed or deleted: try again shortly.", {
        details: { id: nodeId },
      });
    }
    try {
      return await claims.holding(claim, () => this.#carryOut(ctx, claim, raw, by));
    } finally {
      await claims
        .release(claim)
        .catch((error: unknown) => ctx.log.warn({ err: error, nodeId }, "a claim on a host stays until it is over"));
    }
  }

  async #carryOut(ctx: RequestContext, claim: HostClaim, raw: RawAccessChange, by: string): Promise<ChangedAccess> {
    const { claims, secrets, nodes } = this.#parts;
    const host = await claims.read(claim.id);
    if (host === null || host.claim !== claim.claim || host.nodeId === null) throw hostClaimLost();
    const { nodeId, agentId } = host;
    const change = checkAccessChange(raw, host);
    const uri = change.uri.text;
    const credentials = change.credentials ?? (await secrets.open(host));
    const found = await this.#probe(ctx, host, accessBy(credentials, { uri, hostKeys: change.hostKeys }));
    const machine = checkMachine(host, found, change);
    const hostKeys = pinnedKeys({ uri, hostKeys: change.hostKeys }, found);
    const sealedCredentials = secrets.seal({ id: host.id, uri }, credentials);
    try {
      await claims.change(claim, async (row, { em, now }) => {
        const other = await findMachine(em, machine, row);
        if (other !== null) throw sameHost("uri", other.nodeId);
        Object.assign(row, { ...machine, uri, hostKeys, sealedCredentials, generation: row.generation + 1, assignedAt: now });
      });
    } catch (error) {
      // The other one was stored between the look and the commit.
      if (error instanceof UniqueConstraintViolationException) throw sameHost("uri", null);
      throw error;
    }
    const changed = { uri, credentials: change.credentials !== null, hostKeys: hostKeys.join() !== host.hostKeys.join() };
    ctx.log.info({ nodeId, hostname: host.hostname, by, ...changed }, "a host is reached in another way");
    if (uri !== host.uri && agentId !== null) {
      // It is changed already; and the agent tells the new URI, too, when it takes the host up.
      await nodes
        .assign(ctx, nodeId, agentId, uri)
        .catch((error: unknown) => ctx.log.warn({ err: error, nodeId }, "ClusterService was not told of a host's new URI"));
    }
    return { nodeId, hostKeys };
  }

  /** By the agent that stands for it, and no other: two would have a way to the host at once. */
  async #probe(ctx: RequestContext, { nodeId, agentId }: BridgedHost, access: Parameters<typeof probeHost>[3]): Promise<FoundHost> {
    const { streams, commands } = this.#parts;
    const own = await streams.awaitedCandidates(ctx.signal, (candidate) => candidate.agentId === agentId);
    if (own.length > 0) return (await probeHost(ctx, commands, own, access)).found;
    const { code, reason, details } = noBridgingAgent();
    const message = "The agent that stands for the host is away: try again when it is back, or another one stands for the host.";
    throw new FleetError(code, message, { reason, details: { ...details, id: nodeId } });
  }

  async #find(ctx: RequestContext, nodeId: string): Promise<BridgedHost> {
    const { claims, nodes } = this.#parts;
    const host = await claims.store.read((em) => em.findOne(BridgedHost, { nodeId }));
    if (host !== null) return host;
    await nodes.get(ctx, nodeId);
    throw new FleetError(
      "FAILED_PRECONDITION",
      "This node has an agent of its own: only one that was added by URI is reached by credentials.",
      {
        reason: "NotBridged",
        details: { id: nodeId },
      },
    );
  }
}

/** What libvirt calls the machine now. Throws FAILED_PRECONDITION (AnotherHost) where it was called otherwise before, unless it may be another. */
function checkMachine({ nodeId, hostUuid }: BridgedHost, { host }: FoundHost, { anotherHost }: AccessChange): Machine {
  const machine: Machine = { hostUuid: host?.uuid || null, bootId: host?.bootId || null };
  if (hostUuid === null || hostUuid === machine.hostUuid || anotherHost) return machine;
  throw new FleetError(
    "FAILED_PRECONDITION",
    "Another machine answers there: libvirt calls it otherwise. If it stands in for the former one, give anotherHost: true; else add it as a node.",
    { reason: "AnotherHost", details: { id: nodeId, step: "LIBVIRT", expected: hostUuid, found: machine.hostUuid } },
  );
}
