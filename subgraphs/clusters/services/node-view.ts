import type { AllocationPolicy } from "../config.ts";
import type { Node } from "../entities/node.ts";
import type { ResourcesColumns } from "../entities/resources-columns.ts";
import { allocatableOf } from "./allocatable.ts";
import { availabilityOf } from "./availability.ts";
import type { NodeView, Resources } from "./node-types.ts";

/** The node as it is shown: in answers of both faces, and in events as it then was. */
export function nodeView(node: Node, lastSeen: Date | null, policy: AllocationPolicy): NodeView {
  const capacity = resourcesOf(node.capacity);
  return {
    id: node.id,
    hostname: node.hostname,
    ip: node.ip,
    port: node.port,
    role: node.role,
    status: node.status,
    lease: node.lease,
    kind: node.kind,
    availability: availabilityOf(node.status, node.maintenance),
    maintenance: node.maintenance,
    maintenanceReason: node.maintenanceReason,
    maintenanceSince: node.maintenanceSince?.toISOString() ?? null,
    region: node.region,
    zone: node.zone,
    capacity,
    allocatable: capacity && allocatableOf(capacity, policy),
    allocated: resourcesOf(node.allocated),
    supportedInstanceTypes: node.supportedInstanceTypes,
    conditions: node.conditions,
    labels: node.labels,
    annotations: node.annotations,
    uri: node.uri,
    bridged: node.bridged,
    simulated: node.simulated,
    deregistered: node.deregisteredAt !== null,
    agentId: node.agentId,
    createdAt: node.createdAt.toISOString(),
    updatedAt: node.updatedAt.toISOString(),
    lastSeen: lastSeen?.toISOString() ?? null,
  };
}

/** A plain copy: entities stay in the store. */
function resourcesOf(columns: ResourcesColumns | Resources | null): Resources | null {
  if (columns === null) return null;
  const { cpuCores, memoryBytes, diskBytes, gpuCount } = columns;
  return { cpuCores, memoryBytes, diskBytes, gpuCount };
}
