import { type FilterQuery, UniqueConstraintViolationException } from "@mikro-orm/core";
import { type Identity, requireRole } from "../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { GroupCommit, type Outcome } from "../../kit/group-commit.ts";
import { checkId } from "../../kit/input-checks.ts";
import { Node } from "../entities/node.ts";
import { NodeCommand } from "../entities/node-command.ts";
import { checkRegistration, type RawRegistration } from "./node-input.ts";
import { nodeDeregistered, nodeNotFound, requireAgentOrAdmin } from "./node-rights.ts";
import { applyAdmission, applyDeregistration } from "./node-state.ts";
import type { NodeView, Registration } from "./node-types.ts";
import type { NodeTransaction, NodeWriter } from "./node-writer.ts";
import { describeNode, newNode } from "./registered-node.ts";
import { findBarred, type Holder, RegistrationRoster } from "./registration-roster.ts";

interface Request {
  identity: Identity;
  registration: Registration;
}

/** How nodes come into the fleet and leave it. */
export class NodeRegistration {
  readonly #writer: NodeWriter;
  readonly #requests: GroupCommit<Request, NodeView>;

  constructor(writer: NodeWriter) {
    this.#writer = writer;
    // A whole fleet registers at once when it is started.
    this.#requests = new GroupCommit({ run: (requests) => this.#registerAll(requests), batch: 50, queue: 20_000 });
  }

  /**
   * Rights: an agent for nodes of its own, or admin. The same identity with the same hostname, or with the id it was given, gets the node it
   * had, brought up to date; an admin may do this for an agent's node by its id.
   * Throws ALREADY_EXISTS (field hostname) where another identity holds the name, FAILED_PRECONDITION (reason NodeDeregistered).
   */
  async register(ctx: RequestContext, raw: RawRegistration): Promise<NodeView> {
    requireAgentOrAdmin(ctx.identity);
    const { identity } = ctx;
    const registration = checkRegistration(raw);
    return secondLook(() => this.#requests.add({ identity, registration }));
  }

  /** Rights: admin. Already deregistered: nothing happens. Throws NOT_FOUND. */
  async deregister(ctx: RequestContext, id: string): Promise<NodeView> {
    requireRole(ctx.identity, "admin");
    checkId("nodeId", id);
    return this.#writer.transaction(async (nodes) => {
      const node = await nodes.lockOne(id);
      if (!node) throw nodeNotFound(id);
      if (node.deregisteredAt !== null) return nodes.view(node);
      await nodes.em.nativeDelete(NodeCommand, { nodeId: id, acknowledgedAt: null });
      return nodes.change(node, () => {
        const now = new Date();
        applyDeregistration(node, now);
        node.deregisteredAt = now;
      });
    });
  }

  /** Rights: admin. The node is PENDING until its agent reports. Not deregistered: nothing happens. Throws NOT_FOUND, ALREADY_EXISTS. */
  async admit(ctx: RequestContext, id: string): Promise<NodeView> {
    requireRole(ctx.identity, "admin");
    checkId("nodeId", id);
    return secondLook(() =>
      this.#writer.transaction(async (nodes) => {
        const node = await nodes.lockOne(id);
        if (!node) throw nodeNotFound(id);
        if (node.deregisteredAt === null) return nodes.view(node);
        if ((await nodes.em.count(Node, { hostname: node.hostname, deregisteredAt: null })) > 0) throw hostnameTaken(node.hostname);
        return nodes.change(node, () => {
          applyAdmission(node);
          node.deregisteredAt = null;
        });
      }),
    );
  }

  #registerAll(requests: readonly Request[]): Promise<Array<Outcome<NodeView>>> {
    return this.#writer.transaction(async (nodes) => {
      const roster = await lookUp(nodes, requests);
      return requests.map(({ identity, registration }) => {
        try {
          return { value: registerOne(nodes, roster, identity, registration) };
        } catch (error) {
          // Refusals come before anything was changed.
          if (error instanceof FleetError) return { error };
          throw error;
        }
      });
    });
  }
}

/** Somebody took the name between the look and the insert: the second look finds them. */
async function secondLook<T>(attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof UniqueConstraintViolationException) return attempt();
    throw error;
  }
}

/** Who is to report it. Only the control plane names another than itself: the agent that bridges a host. */
function holderOf(identity: Identity, registration: Registration): Holder {
  if (identity.kind === "agent") return identity.agentId;
  return identity.kind === "control" ? registration.agentId : null;
}

async function lookUp(nodes: NodeTransaction, requests: readonly Request[]): Promise<RegistrationRoster> {
  const given = (values: Array<string | null>) => [...new Set(values.filter((value) => value !== null))];
  const ids = given(requests.map(({ registration }) => registration.nodeId));
  const requestIds = given(requests.map(({ registration }) => registration.clientRequestId));
  const where: Array<FilterQuery<Node>> = [{ hostname: { $in: given(requests.map(({ registration }) => registration.hostname)) } }];
  if (ids.length > 0) where.push({ id: { $in: ids } });
  if (requestIds.length > 0) where.push({ clientRequestId: { $in: requestIds } });
  const locked = await nodes.lock({ $or: where });
  return new RegistrationRoster(
    locked,
    await findBarred(nodes.em, given(requests.map(({ identity, registration }) => holderOf(identity, registration)))),
  );
}

function registerOne(nodes: NodeTransaction, roster: RegistrationRoster, identity: Identity, registration: Registration): NodeView {
  const holder = holderOf(identity, registration);
  const repeated = roster.byRequest(registration.clientRequestId, holder);
  if (repeated) return nodes.view(checkRepeated(repeated, registration));
  const known = findKnown(roster, identity, registration);
  if (known) {
    if (known.deregisteredAt !== null) throw nodeDeregistered(known.id);
    const before = known.hostname;
    const view = nodes.change(known, () => describeNode(known, registration));
    if (before !== known.hostname) roster.renamed(known, before);
    return view;
  }
  const barredBy = roster.barredBy(holder);
  if (barredBy !== null) throw nodeDeregistered(barredBy);
  const node = newNode(nodes.em, registration, holder, identity.kind === "control");
  roster.add(node);
  return nodes.create(node);
}

/** An answer that got lost is asked for again: the node that the request made before, whatever became of it since. */
function checkRepeated(node: Node, { hostname }: Registration): Node {
  if (node.hostname !== hostname)
    throw invalidArgument("clientRequestId", "This request id was used for another hostname.", { id: node.id });
  if (node.deregisteredAt !== null) throw nodeDeregistered(node.id);
  return node;
}

/** The node that this registration is about; null for a new one. */
function findKnown(roster: RegistrationRoster, identity: Identity, registration: Registration): Node | null {
  const { nodeId, hostname } = registration;
  const holder = holderOf(identity, registration);
  const namesake = roster.inService(hostname);
  const named = roster.byId(nodeId);
  if (named) {
    if (identity.kind === "agent" && named.agentId !== holder) {
      throw new FleetError("FORBIDDEN", "This node belongs to another identity.", {
        reason: "NotYourNode",
        details: { field: "nodeId", id: named.id },
      });
    }
    if (namesake && namesake !== named && named.deregisteredAt === null) throw hostnameTaken(hostname);
    return named;
  }
  // What the control plane adds by URI is always new; and an agent's own machine is never the host that it stands for.
  if (namesake && (identity.kind === "control" || namesake.agentId !== holder || namesake.bridged)) throw hostnameTaken(hostname);
  if (identity.kind === "control") return null;
  return namesake ?? roster.deregistered(hostname, holder);
}

function hostnameTaken(hostname: string): FleetError {
  return new FleetError("ALREADY_EXISTS", `The hostname ${hostname} is held by another identity.`, {
    reason: "HostnameTaken",
    details: { field: "hostname", hostname },
  });
}
