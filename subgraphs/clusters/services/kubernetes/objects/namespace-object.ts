import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { headOf, type ObjectHead } from "./object-head.ts";

export interface RawNamespace extends KubernetesObject {
  status?: { phase?: string };
}

export interface KubernetesNamespaceView extends ObjectHead {
  phase: string | null;
}

export function namespaceView(namespace: RawNamespace): KubernetesNamespaceView {
  return { ...headOf(namespace), phase: namespace.status?.phase || null };
}
