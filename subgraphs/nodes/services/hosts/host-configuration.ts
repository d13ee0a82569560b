import { type Node, NodeKind } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { BridgedHost } from "../../entities/bridged-host.ts";
import { HOST_KINDS, type HostKind } from "./host-types.ts";

/** What a deleted node can be added again with. No secret is in it. */
export interface HostConfiguration {
  hostname: string;
  /** Null for a node with an agent of its own: that joins again with a new token. */
  uri: string | null;
  kind: HostKind | null;
  region: string | null;
  zone: string | null;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  hostKeys: string[];
}

/** As it is now: an operator may have changed labels since it was added. */
export function hostConfiguration(node: Node, host: Pick<BridgedHost, "uri" | "hostKeys"> | null): HostConfiguration {
  return {
    hostname: node.hostname,
    uri: host?.uri ?? (node.uri || null),
    kind: HOST_KINDS.find((kind) => NodeKind[kind] === node.kind) ?? null,
    region: node.region || null,
    zone: node.zone || null,
    labels: node.metadata?.labels ?? {},
    annotations: node.metadata?.annotations ?? {},
    hostKeys: host?.hostKeys ?? [],
  };
}
