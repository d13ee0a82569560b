import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { type NamespacedHead, namespacedHeadOf, type ObjectReference, ownerOf } from "./object-head.ts";
import { type ContainerView, containerView, type RawContainer, type RawContainerStatus } from "./pod-container.ts";

export interface RawPod extends KubernetesObject {
  spec?: {
    nodeName?: string;
    priority?: number;
    containers?: RawContainer[];
    initContainers?: RawContainer[];
  };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    podIP?: string;
    hostIP?: string;
    qosClass?: string;
    containerStatuses?: RawContainerStatus[];
    initContainerStatuses?: RawContainerStatus[];
  };
}

export interface KubernetesPodView extends NamespacedHead {
  phase: string | null;
  reason: string | null;
  message: string | null;
  nodeName: string | null;
  podIP: string | null;
  hostIP: string | null;
  qosClass: string | null;
  priority: number | null;
  owner: ObjectReference | null;
  containers: ContainerView[];
  initContainers: ContainerView[];
}

export function podView(pod: RawPod): KubernetesPodView {
  const { spec = {}, status = {} } = pod;
  const initContainers = (spec.initContainers ?? []).map((one) => containerView(one, status.initContainerStatuses));
  const containers = (spec.containers ?? []).map((one) => containerView(one, status.containerStatuses));
  const troubled = [...initContainers, ...containers].find(isTroubled);
  return {
    ...namespacedHeadOf(pod),
    phase: status.phase || null,
    reason: status.reason || troubled?.reason || null,
    message: status.message || troubled?.message || null,
    nodeName: spec.nodeName || null,
    podIP: status.podIP || null,
    hostIP: status.hostIP || null,
    qosClass: status.qosClass || null,
    priority: spec.priority ?? null,
    owner: ownerOf(pod),
    containers,
    initContainers,
  };
}

/** Waits, or ended with a fault. */
function isTroubled({ state, exitCode }: ContainerView): boolean {
  return state === "Waiting" || (state === "Terminated" && exitCode !== 0);
}
