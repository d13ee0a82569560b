import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import {
  checkHostname,
  checkId,
  checkInteger,
  checkIp,
  checkListLength,
  checkName,
  checkOneOf,
  checkPort,
  checkStringMap,
  checkText,
} from "../../kit/input-checks.ts";
import {
  CONDITION_STATUSES,
  type ConditionReport,
  type Heartbeat,
  INSTANCE_TYPES,
  NODE_AVAILABILITIES,
  NODE_KINDS,
  NODE_ROLES,
  NODE_STATUSES,
  type NodeFilter,
  type NodePatch,
  type NodeStatus,
  type Registration,
  type Resources,
  type StringMap,
} from "./node-types.ts";

/** What a face hands over: its shape is right, its values are not checked. Enums without prefix; null or undefined where not given. */
export interface RawResources {
  cpuCores: number;
  memoryBytes: number;
  diskBytes?: number | null;
  gpuCount?: number | null;
}

export interface RawCondition {
  type: string;
  status: string;
  reason?: string | null;
  message?: string | null;
}

export interface RawRegistration {
  hostname: string;
  ip: string;
  port: number;
  role?: string | null;
  kind?: string | null;
  region?: string | null;
  zone?: string | null;
  capacity?: RawResources | null;
  supportedInstanceTypes: readonly string[];
  labels?: StringMap | null;
  annotations?: StringMap | null;
  simulated?: boolean | null;
  nodeId?: string | null;
  clientRequestId?: string | null;
  uri?: string | null;
  agentId?: string | null;
  machineId?: string | null;
}

export interface RawHeartbeat {
  nodeId: string;
  status?: string | null;
  conditions?: readonly RawCondition[] | null;
  allocated?: RawResources | null;
  acknowledgedCommandIds?: readonly string[] | null;
  sentAt?: Date | null;
}

export type RawNodeFilter = { [K in Exclude<keyof NodeFilter, "deregistered">]?: string | null } & { deregistered?: boolean | null };

const MAX_INT32 = 2_147_483_647;
/** Characters. */
export const MAX_URI = 1000;
const MAX_LABEL_BYTES = 16_384;
const MAX_ANNOTATION_BYTES = 65_536;

export function checkRegistration(raw: RawRegistration): Registration {
  if (!raw.capacity) throw invalidArgument("capacity", "The node's capacity is needed.");
  checkListLength("supportedInstanceTypes", raw.supportedInstanceTypes, INSTANCE_TYPES.length);
  return {
    hostname: checkHostname("hostname", raw.hostname),
    ip: checkIp("ip", raw.ip),
    port: checkPort("port", raw.port),
    role: checkOneOf("role", raw.role, NODE_ROLES),
    kind: checkOneOf("kind", raw.kind ?? "COMPUTE", NODE_KINDS),
    region: checkName("region", raw.region),
    zone: checkName("zone", raw.zone),
    capacity: checkResources("capacity", raw.capacity),
    supportedInstanceTypes: [
      ...new Set(raw.supportedInstanceTypes.map((type) => checkOneOf("supportedInstanceTypes", type, INSTANCE_TYPES))),
    ],
    labels: raw.labels ? checkStringMap("labels", raw.labels, MAX_LABEL_BYTES) : null,
    annotations: raw.annotations ? checkStringMap("annotations", raw.annotations, MAX_ANNOTATION_BYTES) : null,
    simulated: raw.simulated ?? false,
    nodeId: checkName("nodeId", raw.nodeId),
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
    uri: raw.uri ? checkText("uri", raw.uri, MAX_URI) : null,
    agentId: checkName("agentId", raw.agentId),
    machineId: checkMachineId(raw.machineId),
  };
}

function checkMachineId(raw: string | null | undefined): string | null {
  if (!raw) return null;
  if (!/^[0-9a-f]{32}$/.test(raw)) throw invalidArgument("machineId", "A machine id is 32 hexadecimal digits in lower case.");
  return raw;
}

export function checkResources(field: string, raw: RawResources): Resources {
  return {
    cpuCores: checkInteger(`${field}.cpuCores`, raw.cpuCores, 0, MAX_INT32),
    memoryBytes: checkInteger(`${field}.memoryBytes`, raw.memoryBytes, 0, Number.MAX_SAFE_INTEGER),
    diskBytes: checkInteger(`${field}.diskBytes`, raw.diskBytes ?? 0, 0, Number.MAX_SAFE_INTEGER),
    gpuCount: checkInteger(`${field}.gpuCount`, raw.gpuCount ?? 0, 0, MAX_INT32),
  };
}

export function checkConditions(raw: readonly RawCondition[] | null | undefined): ConditionReport[] {
  if (!raw || raw.length === 0) return [];
  checkListLength("conditions", raw, 32);
  const types = new Set<string>();
  return raw.map(({ type, status, reason, message }, index) => {
    const field = `conditions[${index}]`;
    if (!/^[A-Za-z][\w.-]{0,62}$/.test(type)) {
      throw invalidArgument(`${field}.type`, "A type is one word of letters, digits, '.', '_' and '-', up to 63 characters.");
    }
    if (types.has(type)) throw invalidArgument(`${field}.type`, "Each type may occur once.");
    types.add(type);
    return {
      type,
      status: checkOneOf(`${field}.status`, status, CONDITION_STATUSES),
      reason: checkText(`${field}.reason`, reason ?? "", 128),
      message: checkText(`${field}.message`, message ?? "", 1024),
    };
  });
}

export function checkHeartbeat(raw: RawHeartbeat): Heartbeat {
  const acknowledgedCommandIds = raw.acknowledgedCommandIds ?? [];
  checkListLength("acknowledgedCommandIds", acknowledgedCommandIds, 100);
  const sentAt = raw.sentAt?.getTime() ?? null;
  const conditions = checkConditions(raw.conditions);
  return {
    nodeId: checkId("nodeId", raw.nodeId),
    status: checkStatus(raw.status),
    conditions,
    allocated: raw.allocated ? checkResources("allocated", raw.allocated) : null,
    acknowledgedCommandIds: [...acknowledgedCommandIds],
    sentAt,
  };
}

export function checkStatus(raw: string | null | undefined): NodeStatus {
  return checkOneOf("status", raw, NODE_STATUSES);
}

export function checkFilter(raw: RawNodeFilter | null | undefined): NodeFilter {
  const optional = <T extends string>(field: string, value: string | null | undefined, allowed: readonly T[]) =>
    value === null || value === undefined ? null : checkOneOf(field, value, allowed);
  return {
    role: optional("filter.role", raw?.role, NODE_ROLES),
    status: optional("filter.status", raw?.status, NODE_STATUSES),
    kind: optional("filter.kind", raw?.kind, NODE_KINDS),
    availability: optional("filter.availability", raw?.availability, NODE_AVAILABILITIES),
    region: checkName("filter.region", raw?.region),
    zone: checkName("filter.zone", raw?.zone),
    name: checkName("filter.name", raw?.name, 253)?.toLowerCase() ?? null,
    deregistered: raw?.deregistered ?? false,
  };
}

export function checkPatch(raw: NodePatch): NodePatch {
  const patch: NodePatch = {};
  if (raw.region !== undefined) patch.region = checkName("region", raw.region);
  if (raw.zone !== undefined) patch.zone = checkName("zone", raw.zone);
  if (raw.labels !== undefined) patch.labels = checkStringMap("labels", raw.labels ?? {}, MAX_LABEL_BYTES);
  if (raw.annotations !== undefined) patch.annotations = checkStringMap("annotations", raw.annotations ?? {}, MAX_ANNOTATION_BYTES);
  return patch;
}
