import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { type ConditionView, conditionsOf, headOf, type ObjectHead, type RawCondition } from "./object-head.ts";
import { type ResourceAmounts, resourceAmounts } from "./quantities.ts";

interface Address {
  type: string;
  address: string;
}

export interface RawNode extends KubernetesObject {
  spec?: {
    podCIDR?: string;
    podCIDRs?: string[];
    providerID?: string;
    unschedulable?: boolean;
    taints?: Array<{ key: string; value?: string; effect: string }>;
  };
  status?: {
    addresses?: Address[];
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    conditions?: RawCondition[];
    nodeInfo?: {
      kubeletVersion?: string;
      osImage?: string;
      kernelVersion?: string;
      containerRuntimeVersion?: string;
      architecture?: string;
      operatingSystem?: string;
      machineID?: string;
    };
  };
}

export interface KubernetesNodeView extends ObjectHead {
  ready: boolean;
  conditions: ConditionView[];
  roles: string[];
  kubeletVersion: string | null;
  osImage: string | null;
  kernelVersion: string | null;
  containerRuntime: string | null;
  architecture: string | null;
  operatingSystem: string | null;
  addresses: Address[];
  capacity: ResourceAmounts | null;
  allocatable: ResourceAmounts | null;
  taints: Array<{ key: string; value: string | null; effect: string }>;
  unschedulable: boolean;
  podCIDRs: string[];
  providerId: string | null;
  machineId: string | null;
}

const ROLE_PREFIX = "node-role.kubernetes.io/";
const OLD_ROLE = "kubernetes.io/role";

/** Heartbeats do not show: of conditions only what they say, not when they were last said. */
export function nodeView(node: RawNode): KubernetesNodeView {
  const { spec = {}, status = {} } = node;
  const info = status.nodeInfo ?? {};
  return {
    ...headOf(node),
    ready: status.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") ?? false,
    conditions: conditionsOf(status.conditions),
    roles: rolesOf(node.metadata.labels ?? {}),
    kubeletVersion: info.kubeletVersion || null,
    osImage: info.osImage || null,
    kernelVersion: info.kernelVersion || null,
    containerRuntime: info.containerRuntimeVersion || null,
    architecture: info.architecture || null,
    operatingSystem: info.operatingSystem || null,
    addresses: (status.addresses ?? []).map(({ type, address }) => ({ type, address })),
    capacity: resourceAmounts(status.capacity),
    allocatable: resourceAmounts(status.allocatable),
    taints: (spec.taints ?? []).map(({ key, value, effect }) => ({ key, value: value || null, effect })),
    unschedulable: spec.unschedulable ?? false,
    podCIDRs: spec.podCIDRs ?? (spec.podCIDR ? [spec.podCIDR] : []),
    providerId: spec.providerID || null,
    machineId: info.machineID || null,
  };
}

function rolesOf(labels: Readonly<Record<string, string>>): string[] {
  const roles = Object.keys(labels).flatMap((label) => (label.startsWith(ROLE_PREFIX) ? [label.slice(ROLE_PREFIX.length)] : []));
  return [...new Set([...roles, labels[OLD_ROLE] ?? ""])].filter((role) => role !== "").sort();
}
