import { newId } from "../../kit/ids.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import { Node } from "../entities/node.ts";
import type { Registration, StringMap } from "./node-types.ts";

/** A node that was never here before. */
export function newNode(em: EntityManager, registration: Registration, agentId: string | null, bridged: boolean): Node {
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
    maintenanceReason: null,
    maintenanceSince: null,
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
    bridged,
    simulated: registration.simulated,
    machineId: null,
    agentId,
    clientRequestId: registration.clientRequestId,
    deregisteredAt: null,
    createdAt: now,
    updatedAt: now,
  });
  describeNode(node, registration);
  return node;
}

/** Takes over what the registration says. What an operator may have changed since stays, unless it says something else than the one before. */
export function describeNode(node: Node, registration: Registration): void {
  const { hostname, ip, port, role, kind, capacity, supportedInstanceTypes, simulated } = registration;
  Object.assign(node, { hostname, ip, port, role, kind, supportedInstanceTypes, simulated });
  if (JSON.stringify(node.capacity) !== JSON.stringify(capacity)) node.capacity = capacity;
  const before = node.registered;
  const { region, zone, labels, annotations } = registration;
  // A host that could not be read says nothing about it.
  if (registration.machineId !== null) node.machineId = registration.machineId;
  if (registration.uri !== null) node.uri = registration.uri;
  if (region !== (before?.region ?? null)) node.region = region;
  if (zone !== (before?.zone ?? null)) node.zone = zone;
  if (labels !== null && !sameMap(labels, before?.labels)) node.labels = labels;
  if (annotations !== null && !sameMap(annotations, before?.annotations)) node.annotations = annotations;
  const same = before && before.region === region && before.zone === zone && saidNothingNew(labels, before.labels);
  if (same && saidNothingNew(annotations, before.annotations)) return;
  node.registered = { region, zone, labels: labels ?? before?.labels ?? null, annotations: annotations ?? before?.annotations ?? null };
}

function saidNothingNew(said: StringMap | null, before: StringMap | null): boolean {
  return said === null || sameMap(said, before);
}

function sameMap(a: StringMap, b: StringMap | null | undefined): boolean {
  if (!b) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
