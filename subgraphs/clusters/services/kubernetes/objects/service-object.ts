import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { selectorText } from "./deployment-object.ts";
import { type NamespacedHead, namespacedHeadOf } from "./object-head.ts";

export interface RawService extends KubernetesObject {
  spec?: {
    type?: string;
    clusterIP?: string;
    clusterIPs?: string[];
    externalIPs?: string[];
    externalName?: string;
    selector?: Record<string, string>;
    ports?: Array<{ name?: string; protocol?: string; port: number; targetPort?: number | string; nodePort?: number }>;
  };
  status?: { loadBalancer?: { ingress?: Array<{ ip?: string; hostname?: string }> } };
}

export interface ServicePort {
  name: string | null;
  protocol: string;
  port: number;
  /** A number, or the name of a container's port. */
  targetPort: string | null;
  nodePort: number | null;
}

export interface KubernetesServiceView extends NamespacedHead {
  type: string | null;
  clusterIPs: string[];
  externalIPs: string[];
  externalName: string | null;
  loadBalancer: string[];
  ports: ServicePort[];
  selector: string | null;
}

export function serviceView(service: RawService): KubernetesServiceView {
  const { spec = {}, status = {} } = service;
  return {
    ...namespacedHeadOf(service),
    type: spec.type || null,
    clusterIPs: spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : []),
    externalIPs: spec.externalIPs ?? [],
    externalName: spec.externalName || null,
    loadBalancer: (status.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip || hostname || []),
    ports: (spec.ports ?? []).map(({ name, protocol, port, targetPort, nodePort }) => ({
      name: name || null,
      protocol: protocol || "TCP",
      port,
      targetPort: targetPort === undefined ? null : String(targetPort),
      nodePort: nodePort || null,
    })),
    selector: selectorText({ matchLabels: spec.selector ?? {} }),
  };
}
