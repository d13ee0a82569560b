import { toKeyValues } from "../../../../kit/graphql/key-values.ts";
import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";

/** What every object shows: JSON primitives only, times in ISO 8601, maps as lists. */
export interface ObjectHead {
  uid: string;
  name: string;
  labels: Array<{ key: string; value: string }>;
  annotations: Array<{ key: string; value: string }>;
  createdAt: string | null;
  /** Since then it is being deleted. */
  deletionRequestedAt: string | null;
}

export interface NamespacedHead extends ObjectHead {
  namespace: string;
}

/** One aspect of an object's state, as its controller tells it. */
export interface ConditionView {
  type: string;
  status: string;
  reason: string | null;
  message: string | null;
  lastTransitionAt: string | null;
}

export interface RawCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string | null;
}

export interface ObjectReference {
  kind: string;
  namespace: string | null;
  name: string;
  uid: string | null;
}

/** `kubectl apply` keeps the whole object here, environment variables among it: those are not for everybody. */
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

export function headOf({ metadata }: KubernetesObject): ObjectHead {
  const { [LAST_APPLIED]: _lastApplied, ...annotations } = metadata.annotations ?? {};
  return {
    uid: metadata.uid,
    name: metadata.name,
    labels: toKeyValues(metadata.labels ?? {}),
    annotations: toKeyValues(annotations),
    createdAt: metadata.creationTimestamp ?? null,
    deletionRequestedAt: metadata.deletionTimestamp ?? null,
  };
}

export function namespacedHeadOf(object: KubernetesObject): NamespacedHead {
  return { ...headOf(object), namespace: object.metadata.namespace ?? "" };
}

/** In the order of their types: controllers write them in any. */
export function conditionsOf(conditions: readonly RawCondition[] | null | undefined): ConditionView[] {
  return (conditions ?? [])
    .map(({ type, status, reason, message, lastTransitionTime }) => ({
      type,
      status,
      reason: reason || null,
      message: message || null,
      lastTransitionAt: lastTransitionTime ?? null,
    }))
    .sort((a, b) => (a.type < b.type ? -1 : 1));
}

/** The object that manages this one; null where none does. */
export function ownerOf({ metadata }: KubernetesObject): ObjectReference | null {
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  return owner ? { kind: owner.kind, namespace: metadata.namespace ?? null, name: owner.name, uid: owner.uid } : null;
}
