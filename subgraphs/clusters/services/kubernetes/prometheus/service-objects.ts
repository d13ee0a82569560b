import type { KubernetesObject, ResourceKind } from "../../../../kit/kubernetes/types.ts";

/* What the discovery reads of services, Ingresses and nodes. Nothing of it can be relied on: old API servers and odd controllers leave things out. */

export interface ServicePort {
  name?: string;
  port: number;
  targetPort?: number | string;
  nodePort?: number;
  protocol?: string;
  appProtocol?: string;
}

interface LoadBalancerStatus {
  loadBalancer?: { ingress?: Array<{ ip?: string; hostname?: string }> };
}

export interface ServiceObject extends KubernetesObject {
  spec?: { type?: string; ports?: ServicePort[] };
  status?: LoadBalancerStatus;
}

interface IngressBackend {
  service?: { name?: string; port?: { number?: number; name?: string } };
}

export interface IngressObject extends KubernetesObject {
  spec?: {
    defaultBackend?: IngressBackend;
    tls?: Array<{ hosts?: string[] }>;
    rules?: Array<{ host?: string; http?: { paths?: Array<{ path?: string; backend?: IngressBackend }> } }>;
  };
  status?: LoadBalancerStatus;
}

export interface NodeObject extends KubernetesObject {
  status?: { addresses?: Array<{ type: string; address: string }>; conditions?: Array<{ type: string; status: string }> };
}

export const INGRESSES: ResourceKind = { group: "networking.k8s.io", version: "v1", plural: "ingresses", namespaced: true };

/** Addresses that a load balancer was given, for services and Ingresses alike. */
export function balancedAddresses(object: { status?: LoadBalancerStatus }): string[] {
  return (object.status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? []).slice(0, 2);
}
