import { LockMode, UniqueConstraintViolationException } from "@mikro-orm/core";
import type { Identity } from "../../../platform/auth/identity.ts";
import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { EntityManager, Transaction } from "../../kit/store/orm.ts";
import { Node } from "../entities/node.ts";
import { NodeCommand } from "../entities/node-command.ts";
import { newId } from "./ids.ts";
import { checkRegistration, type RawRegistration } from "./node-input.ts";
import { nodeDeregistered, nodeNotFound, requireAgentOrAdmin } from "./node-rights.ts";
import { applyAdmission, applyDeregistration } from "./node-state.ts";
import type { NodeView, Registration } from "./node-types.ts";
import type { NodeWriter } from "./node-writer.ts";

/** How nodes come into the fleet and leave it. */
export class NodeRegistration {
  readonly #writer: NodeWriter;

  constructor(writer: NodeWriter) {
    this.#writer = writer;
  }

  /**
   * Rights: an agent for nodes of its own, or admin. The same identity with the same hostname, or with the id it was given, gets the node it
   * had, brought up to date; an admin may do this for an agent's node by its id.
   * Throws ALREADY_EXISTS (field hostname) where another identity holds the name, FAILED_PRECONDITION (reason NodeDeregistered).
   */
  async register(ctx: RequestContext, raw: RawRegistration): Promise<NodeView> {
    requireAgentOrAdmin(ctx.identity);
    const registration = checkRegistration(raw);
    const identity = ctx.identity;
    const attempt = () => this.#writer.transaction((tx, touched) => this.#register(tx, touched, identity, registration));
    try {
      return await attempt();
    } catch (error) {
      // Somebody took the name between the look and the insert: the second look finds them.
      if (error instanceof UniqueConstraintViolationException) return attempt();
      throw error;
    }
  }

  /** Rights: admin. Already deregistered: nothing happens. Throws NOT_FOUND. */
  async deregister(ctx: RequestContext, id: string): Promise<NodeView> {
    requireRole(ctx.identity, "admin");
    return this.#writer.transaction(async (tx, touched) => {
      const node = await this.#writer.lock(tx.em, id);
      if (!node) throw nodeNotFound(id);
      if (node.deregisteredAt !== null) return this.#writer.view(tx.em, node);
      await tx.em.nativeDelete(NodeCommand, { nodeId: id, acknowledgedAt: null });
      return this.#writer.change(tx, touched, node, () => {
        const now = new Date();
        applyDeregistration(node, now);
        node.deregisteredAt = now;
      });
    });
  }

  /** Rights: admin. The node is PENDING until its agent reports. Not deregistered: nothing happens. Throws NOT_FOUND, ALREADY_EXISTS. */
  async admit(ctx: RequestContext, id: string): Promise<NodeView> {
    requireRole(ctx.identity, "admin");
    const attempt = () =>
      this.#writer.transaction(async (tx, touched) => {
        const node = await this.#writer.lock(tx.em, id);
        if (!node) throw nodeNotFound(id);
        if (node.deregisteredAt === null) return this.#writer.view(tx.em, node);
        if (await findInService(tx.em, node.hostname)) throw hostnameTaken(node.hostname);
        return this.#writer.change(tx, touched, node, () => {
          applyAdmission(node);
          node.deregisteredAt = null;
        });
      });
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof UniqueConstraintViolationException) return attempt();
      throw error;
    }
  }

  async #register(tx: Transaction, touched: Set<string>, identity: Identity, registration: Registration): Promise<NodeView> {
    const holder = identity.kind === "agent" ? identity.agentId : null;
    const repeated = await findByClientRequest(tx.em, registration, holder);
    if (repeated) return this.#writer.view(tx.em, repeated);
    const known = await this.#findKnown(tx.em, identity, holder, registration);
    if (known) {
      if (known.deregisteredAt !== null) throw nodeDeregistered(known.id);
      return this.#writer.change(tx, touched, known, () => describe(known, registration));
    }
    if (holder !== null) await refuseBarredAgent(tx.em, holder);
    return this.#writer.create(tx, touched, newNode(tx.em, registration, holder));
  }

  /** The node that this registration is about, locked; null for a new one. */
  async #findKnown(em: EntityManager, identity: Identity, holder: string | null, { nodeId, hostname }: Registration): Promise<Node | null> {
    const named = nodeId === null ? null : await this.#writer.lock(em, nodeId);
    if (named && named.agentId !== holder && identity.kind === "agent") {
      throw new FleetError("FORBIDDEN", "This node belongs to another identity.", {
        reason: "NotYourNode",
        details: { field: "nodeId", id: named.id },
      });
    }
    const namesake = await findInService(em, hostname);
    if (named) {
      if (namesake && namesake.id !== named.id && named.deregisteredAt === null) throw hostnameTaken(hostname);
      return named;
    }
    if (namesake) {
      if (namesake.agentId !== holder) throw hostnameTaken(hostname);
      return namesake;
    }
    return em.findOne(Node, { hostname, agentId: holder, deregisteredAt: { $ne: null } }, { orderBy: { deregisteredAt: "desc" } });
  }
}

function findInService(em: EntityManager, hostname: string): Promise<Node | null> {
  return em.findOne(Node, { hostname, deregisteredAt: null }, { lockMode: LockMode.PESSIMISTIC_WRITE });
}

/** An answer that got lost is asked for again: the node that the request made before, whatever became of it since. */
async function findByClientRequest(em: EntityManager, registration: Registration, holder: string | null): Promise<Node | null> {
  const { clientRequestId, hostname } = registration;
  if (clientRequestId === null) return null;
  const node = await em.findOne(Node, { clientRequestId, agentId: holder });
  if (!node) return null;
  if (node.hostname !== hostname)
    throw invalidArgument("clientRequestId", "This request id was used for another hostname.", { id: node.id });
  if (node.deregisteredAt !== null) throw nodeDeregistered(node.id);
  return node;
}

/** All of the agent's nodes were deregistered: a new hostname does not bring it back in. */
async function refuseBarredAgent(em: EntityManager, agentId: string): Promise<void> {
  const barredBy = await findBarringNode(em, agentId);
  if (barredBy) throw nodeDeregistered(barredBy.id);
}

/** One of the agent's deregistered nodes, where it has no other; null where the agent may go on. */
export async function findBarringNode(em: EntityManager, agentId: string): Promise<Node | null> {
  const deregistered = await em.findOne(Node, { agentId, deregisteredAt: { $ne: null } });
  if (!deregistered || (await em.count(Node, { agentId, deregisteredAt: null })) > 0) return null;
  return deregistered;
}

function hostnameTaken(hostname: string): FleetError {
  return new FleetError("ALREADY_EXISTS", `The hostname ${hostname} is held by another identity.`, {
    reason: "HostnameTaken",
    details: { field: "hostname", hostname },
  });
}

function newNode(em: EntityManager, registration: Registration, agentId: string | null): Node {
  const now = new Date();
  const node = em.create(Node, {
    id: newId("node"),
    hostname: registration.hostname,
    ip: registration.ip,
    port: registration.port,
    role: registration.role,
    kind: registration.kind,
    status: "PENDING",
    statusByHand: null,
    reported: null,
    lease: "none",
    leaseExpiredAt: null,
    maintenance: false,
    region: null,
    zone: null,
    capacity: registration.capacity,
    allocated: null,
    supportedInstanceTypes: registration.supportedInstanceTypes,
    conditions: [],
    labels: {},
    annotations: {},
    registered: null,
    uri: null,
    simulated: registration.simulated,
    agentId,
    clientRequestId: registration.clientRequestId,
    deregisteredAt: null,
    createdAt: now,
    updatedAt: now,
  });
  describe(node, registration);
  return node;
}

/** What the registration says. What an operator may have changed since stays, unless it says something else than the one before. */
function describe(node: Node, registration: Registration): void {
  const { hostname, ip, port, role, kind, capacity, supportedInstanceTypes, simulated } = registration;
  Object.assign(node, { hostname, ip, port, role, kind, supportedInstanceTypes, simulated });
  if (JSON.stringify(node.capacity) !== JSON.stringify(capacity)) node.capacity = capacity;
  const said = { region: registration.region, zone: registration.zone, labels: registration.labels, annotations: registration.annotations };
  const before = node.registered;
  if (said.region !== (before?.region ?? null)) node.region = said.region;
  if (said.zone !== (before?.zone ?? null)) node.zone = said.zone;
  if (said.labels !== null && !sameMap(said.labels, before?.labels)) node.labels = said.labels;
  if (said.annotations !== null && !sameMap(said.annotations, before?.annotations)) node.annotations = said.annotations;
  const registered = {
    ...said,
    labels: said.labels ?? before?.labels ?? null,
    annotations: said.annotations ?? before?.annotations ?? null,
  };
  if (!before || JSON.stringify(before) !== JSON.stringify(registered)) node.registered = registered;
}

function sameMap(a: Record<string, string>, b: Record<string, string> | null | undefined): boolean {
  if (!b) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
