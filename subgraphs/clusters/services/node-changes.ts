import { callerName, requireRole } from "../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { checkId } from "../../kit/input-checks.ts";
import type { Node } from "../entities/node.ts";
import { checkConditions, checkPatch, checkStatus, type RawCondition } from "./node-input.ts";
import { nodeDeregistered, nodeNotFound, requireAgentOrAdmin, requireOwnNode } from "./node-rights.ts";
import { applyByHand, applyConditions } from "./node-state.ts";
import type { NodePatch, NodeView } from "./node-types.ts";
import type { NodeWriter } from "./node-writer.ts";

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
