import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { newId } from "../../kit/ids.ts";
import { checkId, checkOneOf, checkStringMap } from "../../kit/input-checks.ts";
import { NodeCommand } from "../entities/node-command.ts";
import type { OpenCommand } from "./node-cache.ts";
import { nodeDeregistered, nodeNotFound } from "./node-rights.ts";
import { COMMAND_TYPES, type StringMap } from "./node-types.ts";
import type { NodeTransaction, NodeWriter } from "./node-writer.ts";

/** The log's stream of commands: not for clients, but for the other replicas, which answer heartbeats too. Object ids are node ids. */
export const COMMAND_STREAM = "node-commands";

const MAX_OPEN = 100;
const MAX_PARAMETER_BYTES = 8_192;

/** What agents are told in answers to heartbeats. */
export class NodeCommands {
  readonly #writer: NodeWriter;

  constructor(writer: NodeWriter) {
    this.#writer = writer;
  }

  /**
   * Rights: admin. The command goes out with every heartbeat answer until the agent acknowledges it; the agent runs it once.
   * Throws NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered), RESOURCE_EXHAUSTED with 100 open ones.
   */
  async send(ctx: RequestContext, nodeId: string, rawType: string, rawParameters: StringMap): Promise<OpenCommand> {
    requireRole(ctx.identity, "admin");
    checkId("nodeId", nodeId);
    const type = checkOneOf("type", rawType, COMMAND_TYPES);
    const parameters = checkStringMap("parameters", rawParameters, MAX_PARAMETER_BYTES);
    const command = { id: newId("cmd"), nodeId, type, parameters, createdAt: new Date(), acknowledgedAt: null };
    await this.#writer.transaction(async (nodes) => {
      const node = await nodes.lockOne(nodeId);
      if (!node) throw nodeNotFound(nodeId);
      if (node.deregisteredAt !== null) throw nodeDeregistered(nodeId);
      if ((await nodes.em.count(NodeCommand, { nodeId, acknowledgedAt: null })) >= MAX_OPEN) {
        throw new FleetError("RESOURCE_EXHAUSTED", `The node has ${MAX_OPEN} commands that its agent did not acknowledge.`);
      }
      nodes.em.persist(nodes.em.create(NodeCommand, command));
      announce(nodes, nodeId, command.id);
    });
    return { id: command.id, type, parameters };
  }

  /** What the node's agent carried out, or knew already. Ids of others are passed over. */
  async acknowledge(nodeId: string, ids: readonly string[]): Promise<void> {
    await this.#writer.transaction(async (nodes) => {
      const changed = await nodes.em.nativeUpdate(
        NodeCommand,
        { id: { $in: [...ids] }, nodeId, acknowledgedAt: null },
        { acknowledgedAt: new Date() },
      );
      if (changed > 0) announce(nodes, nodeId, null);
    });
  }
}

/** One object per node, so that the log keeps one row for it. */
function announce(nodes: NodeTransaction, nodeId: string, commandId: string | null): void {
  nodes.touch(nodeId);
  nodes.emit(COMMAND_STREAM, { type: "ADDED", objectId: nodeId, object: { nodeId, commandId }, previous: null });
}
