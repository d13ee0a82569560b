import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { type ConditionView, conditionsOf, type NamespacedHead, namespacedHeadOf, type RawCondition } from "./object-head.ts";
import type { RawContainer } from "./pod-container.ts";

interface RawSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: Array<{ key: string; operator: string; values?: string[] }>;
}

export interface RawDeployment extends KubernetesObject {
  spec?: {
    replicas?: number;
    paused?: boolean;
    selector?: RawSelector;
    template?: { spec?: { containers?: RawContainer[] } };
  };
  status?: {
    replicas?: number;
    readyReplicas?: number;
    updatedReplicas?: number;
    availableReplicas?: number;
    conditions?: RawCondition[];
  };
}

export interface KubernetesDeploymentView extends NamespacedHead {
  replicas: { desired: number; current: number; ready: number; updated: number; available: number };
  paused: boolean;
  conditions: ConditionView[];
  /** As a labelSelector. */
  selector: string | null;
  images: string[];
}

export function deploymentView(deployment: RawDeployment): KubernetesDeploymentView {
  const { spec = {}, status = {} } = deployment;
  const images = (spec.template?.spec?.containers ?? []).flatMap(({ image }) => (image ? [image] : []));
  return {
    ...namespacedHeadOf(deployment),
    replicas: {
      desired: spec.replicas ?? 1,
      current: status.replicas ?? 0,
      ready: status.readyReplicas ?? 0,
      updated: status.updatedReplicas ?? 0,
      available: status.availableReplicas ?? 0,
    },
    paused: spec.paused ?? false,
    conditions: conditionsOf(status.conditions),
    selector: selectorText(spec.selector),
    images: [...new Set(images)],
  };
}

const OPERATORS: Record<string, (key: string, values: string) => string> = {
  In: (key, values) => `${key} in (${values})`,
  NotIn: (key, values) => `${key} notin (${values})`,
  Exists: (key) => key,
  DoesNotExist: (key) => `!${key}`,
};

/** In the syntax of labelSelector; null where nothing selects. */
export function selectorText(selector: RawSelector | null | undefined): string | null {
  const equal = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const others = (selector?.matchExpressions ?? []).flatMap(
    ({ key, operator, values }) => OPERATORS[operator]?.(key, (values ?? []).join(",")) ?? [],
  );
  return [...equal, ...others].join(",") || null;
}
