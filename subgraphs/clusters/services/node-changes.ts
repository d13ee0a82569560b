import { callerName, requireRole } from "../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { checkId, checkText } from "../../kit/input-checks.ts";
import type { Node } from "../entities/node.ts";
import { checkConditions, checkPatch, checkStatus, MAX_URI, type RawCondition } from "./node-input.ts";
import { nodeDeregistered, nodeNotFound, requireAgentOrAdmin, requireControlPlane, requireOwnNode } from "./node-rights.ts";
import { applyByHand, applyConditions, applyReassignment } from "./node-state.ts";
import type { NodePatch, NodeView } from "./node-types.ts";
import type { NodeWriter } from "./node-writer.ts";

const MAX_REASON = 1000;

/** What people change about nodes that are in service. */
export class NodeChanges {
  readonly #writer: NodeWriter;

  constructor(writer: NodeWriter) {
    this.#writer = writer;
  }

  /** Rights: operator. Undefined leaves as it is, null clears. Throws NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered). */
  async update(ctx: RequestContext, id: string, raw: NodePatch): Promise<NodeView> {
    requireRole(ctx.identity, "operator");
    const patch = checkPatch(raw);
    return this.#change(id, (node) => {
      if (patch.region !== undefined) node.region = patch.region;
      if (patch.zone !== undefined) node.zone = patch.zone;
      if (patch.labels !== undefined) node.labels = patch.labels ?? {};
      if (patch.annotations !== undefined) node.annotations = patch.annotations ?? {};
    });
  }

  /**
   * Rights: the node's own certificate, or admin. The status holds until a heartbeat reports another than the heartbeat before it;
   * a lease that runs out shows UNKNOWN meanwhile. Without a status only the conditions change, which is how other parts of the control
   * plane tell theirs. Throws NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered).
   */
  async updateStatus(
    ctx: RequestContext,
    id: string,
    rawStatus: string | null | undefined,
    rawConditions: readonly RawCondition[] | null | undefined,
  ): Promise<NodeView> {
    requireAgentOrAdmin(ctx.identity);
    const conditions = checkConditions(rawConditions);
    const status = !rawStatus && conditions.length > 0 ? null : checkStatus(rawStatus);
    const by = callerName(ctx.identity);
    return this.#change(
      id,
      (node) => (status === null ? applyConditions(node, conditions, new Date()) : applyByHand(node, status, conditions, by, new Date())),
      (node) => requireOwnNode(ctx.identity, node),
    );
  }

  /**
   * Rights: operator. Nothing new is placed on a node in maintenance, and no migration comes in. Throws NOT_FOUND, FAILED_PRECONDITION
   * (NodeDeregistered).
   */
  async setMaintenance(ctx: RequestContext, id: string, maintenance: boolean, rawReason: string | null): Promise<NodeView> {
    requireRole(ctx.identity, "operator");
    const reason = rawReason?.trim() || null;
    if (reason !== null && reason.length > MAX_REASON) {
      throw invalidArgument("reason", `A reason may have ${MAX_REASON} characters.`);
    }
    return this.#change(id, (node) => {
      if (node.maintenance !== maintenance) node.maintenanceSince = maintenance ? new Date() : null;
      node.maintenance = maintenance;
      node.maintenanceReason = maintenance ? reason : null;
    });
  }

  /**
   * Gives a node that was added by URI to an agent, which alone may report it from now on; nobody vouches for it until that agent does. Rights:
   * the control plane itself. `uri`: where its host is reached from now on; null: as before. Throws NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered; NotBridged for one with an agent of its own).
   */
  async assign(ctx: RequestContext, id: string, agentId: string, uri: string | null): Promise<NodeView> {
    requireControlPlane(ctx.identity);
    checkId("agentId", agentId);
    if (uri !== null) checkText("uri", uri, MAX_URI);
    return this.#change(
      id,
      (node) => {
        if (uri !== null) node.uri = uri;
        if (node.agentId === agentId) return;
        node.agentId = agentId;
        if (node.lease === "running") applyReassignment(node, new Date());
      },
      (node) => {
        if (!node.bridged) throw notBridged(id);
      },
    );
  }

  async #change(id: string, change: (node: Node) => void, authorise?: (node: Node) => void): Promise<NodeView> {
    checkId("nodeId", id);
    return this.#writer.transaction(async (nodes) => {
      const node = await nodes.lockOne(id);
      if (!node) throw nodeNotFound(id);
      authorise?.(node);
      if (node.deregisteredAt !== null) throw nodeDeregistered(id);
      return nodes.change(node, () => change(node));
    });
  }
}

function notBridged(id: string): FleetError {
  return new FleetError(
    "FAILED_PRECONDITION",
    "This node has an agent of its own: only a node that was added by URI is given to another.",
    {
      reason: "NotBridged",
      details: { id },
    },
  );
}
