/* eslint-disable */
/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
import type { DocumentTypeDecoration } from '@graphql-typed-document-node/core';
/** What happened to an object that is watched. */
export type EventType =
  /** It exists now, or now matches the filter. */
  | 'ADDED'
  /** Nothing happened up to this cursor. There is no object. */
  | 'BOOKMARK'
  /** It is gone, or no longer matches the filter; the object is its last state. */
  | 'DELETED'
  /** It has changed. */
  | 'MODIFIED';

/** What is seen of an instance; desiredState says what it is to be. */
export type InstanceState =
  /** It is being made on its host; `activity` tells how far, where that takes long. */
  | 'CREATING'
  /** Nothing is left of it on its host. It can still be read for some time. */
  | 'DELETED'
  /** Something went wrong: see stateReason and errorMessage. */
  | 'ERROR'
  | 'RESTARTING'
  | 'RUNNING'
  | 'STARTING'
  /** It does not run. What it holds of its host stays reserved. */
  | 'STOPPED'
  /** It is being stopped, or deleted (desiredState DELETED). */
  | 'STOPPING'
  /** Its CPUs stand still; its memory stays taken. */
  | 'SUSPENDED';

/** What runs an instance. */
export type InstanceType =
  /** Processes of the host, apart from others. */
  | 'CONTAINER'
  /** A virtual machine with few devices, which boots a kernel directly. */
  | 'MICROVM'
  /** A virtual machine with firmware and devices of a PC or server. */
  | 'VM';

/** One entry of a map. A key may occur once. */
export type KeyValueInput = {
  key: string;
  value: string;
};

/** How a cluster was when it was checked last. */
export type KubernetesClusterHealth =
  /** It is reached, and does not answer as it should. */
  | 'ERROR'
  /** It answers, and all its nodes are ready. */
  | 'HEALTHY'
  /** It is not reached. */
  | 'UNAVAILABLE'
  /** Not checked yet, or disabled. */
  | 'UNKNOWN'
  /** It answers; some of its nodes are not ready, or its pods cannot be listed. */
  | 'WARNING';

/** What is observed of a node. See also Node.maintenance, which is intended. */
export type NodeStatus =
  /** Its agent says that it cannot; the conditions say why. */
  | 'NOT_READY'
  /** Registered, and no heartbeat came yet. */
  | 'PENDING'
  /** Its agent says that it can run instances. */
  | 'READY'
  /** Nothing was heard of it for the time of its lease (condition Ready = Unknown, reason LeaseExpired). */
  | 'UNKNOWN';

/** What is left out stays as it is, null clears. */
export type UpdateNodeInput = {
  /** Replaces all of them. */
  annotations?: Array<KeyValueInput> | null | undefined;
  /** Replaces all of them. */
  labels?: Array<KeyValueInput> | null | undefined;
  nodeId: string;
  region?: string | null | undefined;
  zone?: string | null | undefined;
};

export type ClusterInfoQueryVariables = Exact<{ [key: string]: never; }>;


export type ClusterInfoQuery = { clusterInfo: { clusterName: string, totalNodes: number, readyNodes: number, nodesByStatus: Array<{ status: NodeStatus, count: number }>, totalCapacity: { cpuCores: number, memoryBytes: number, diskBytes: number, gpuCount: number } } };

export type CreateInstanceMutationVariables = Exact<{ [key: string]: never; }>;


export type CreateInstanceMutation = { createInstance: { instance: { id: string, state: InstanceState, node: { hostname: string } | null } } };

export type InstanceEventsSubscriptionVariables = Exact<{ [key: string]: never; }>;


export type InstanceEventsSubscription = { instanceEvents: { type: EventType, cursor: string, instance: { name: string, type: InstanceType, state: InstanceState, stateReason: string | null, errorMessage: string | null, ipAddress: string | null, node: { hostname: string, status: NodeStatus } | null } | null } };

export type KubernetesClustersQueryVariables = Exact<{ [key: string]: never; }>;


export type KubernetesClustersQuery = { kubernetesClusters: { nodes: Array<{ id: string, name: string, healthStatus: KubernetesClusterHealth, healthMessage: string | null, version: string | null, nodeCount: number | null, podCount: number | null, pods: { nodes: Array<{ namespace: string, name: string, phase: string | null, nodeName: string | null }> } | null }> } };

export type LabelNodeMutationVariables = Exact<{ [key: string]: never; }>;


export type LabelNodeMutation = { updateNode: { node: { id: string, hostname: string, labels: Array<{ key: string, value: string }> } } };

export type NodeEventsSubscriptionVariables = Exact<{ [key: string]: never; }>;


export type NodeEventsSubscription = { nodeEvents: { type: EventType, cursor: string, node: { hostname: string, status: NodeStatus, labels: Array<{ key: string, value: string }>, hardware: { memory: { usedBytes: number | null } } | null } | null } };

export type NodesQueryVariables = Exact<{ [key: string]: never; }>;


export type NodesQuery = { nodes: { totalCount: number, nodes: Array<{ id: string, hostname: string, status: NodeStatus, capacity: { cpuCores: number, memoryBytes: number } | null, hardware: { cpu: { model: string | null }, memory: { totalBytes: number | null }, numa: Array<{ id: number, cpus: Array<number> | null }> | null } | null }>, pageInfo: { hasNextPage: boolean, endCursor: string | null } } };

export type NodeNamesQueryVariables = Exact<{ [key: string]: never; }>;


export type NodeNamesQuery = { nodes: { totalCount: number, nodes: Array<{ id: string, hostname: string, status: NodeStatus }> } };

export type UpdateNodeMutationVariables = Exact<{
  input: UpdateNodeInput;
}>;


export type UpdateNodeMutation = { updateNode: { node: { id: string, labels: Array<{ key: string, value: string }> } } };

export class TypedDocumentString<TResult, TVariables>
  extends String
  implements DocumentTypeDecoration<TResult, TVariables>
{
  __apiType?: NonNullable<DocumentTypeDecoration<TResult, TVariables>['__apiType']>;
  private value: string;
  public __meta__?: Record<string, any> | undefined;

  constructor(value: string, __meta__?: Record<string, any> | undefined) {
    super(value);
    this.value = value;
    this.__meta__ = __meta__;
  }

  override toString(): string & DocumentTypeDecoration<TResult, TVariables> {
    return this.value;
  }
}

export const ClusterInfoDocument = new TypedDocumentString(`
    query ClusterInfo {
  clusterInfo {
    clusterName
    totalNodes
    readyNodes
    nodesByStatus {
      status
      count
    }
    totalCapacity {
      cpuCores
      memoryBytes
      diskBytes
      gpuCount
    }
  }
}
    `) as unknown as TypedDocumentString<ClusterInfoQuery, ClusterInfoQueryVariables>;
export const CreateInstanceDocument = new TypedDocumentString(`
    mutation CreateInstance {
  createInstance(
    input: {name: "web", type: CONTAINER, clientRequestId: "web-1", spec: {image: "docker.io/library/nginx:latest", cpuCores: 1, memoryBytes: 268435456}}
  ) {
    instance {
      id
      state
      node {
        hostname
      }
    }
  }
}
    `) as unknown as TypedDocumentString<CreateInstanceMutation, CreateInstanceMutationVariables>;
export const InstanceEventsDocument = new TypedDocumentString(`
    subscription InstanceEvents {
  instanceEvents(snapshot: true) {
    type
    cursor
    instance {
      name
      type
      state
      stateReason
      errorMessage
      ipAddress
      node {
        hostname
        status
      }
    }
  }
}
    `) as unknown as TypedDocumentString<InstanceEventsSubscription, InstanceEventsSubscriptionVariables>;
export const KubernetesClustersDocument = new TypedDocumentString(`
    query KubernetesClusters {
  kubernetesClusters {
    nodes {
      id
      name
      healthStatus
      healthMessage
      version
      nodeCount
      podCount
      pods(first: 10) {
        nodes {
          namespace
          name
          phase
          nodeName
        }
      }
    }
  }
}
    `) as unknown as TypedDocumentString<KubernetesClustersQuery, KubernetesClustersQueryVariables>;
export const LabelNodeDocument = new TypedDocumentString(`
    mutation LabelNode {
  updateNode(input: {nodeId: "node-…", labels: [{key: "rack", value: "a1"}]}) {
    node {
      id
      hostname
      labels {
        key
        value
      }
    }
  }
}
    `) as unknown as TypedDocumentString<LabelNodeMutation, LabelNodeMutationVariables>;
export const NodeEventsDocument = new TypedDocumentString(`
    subscription NodeEvents {
  nodeEvents(snapshot: true) {
    type
    cursor
    node {
      hostname
      status
      labels {
        key
        value
      }
      hardware {
        memory {
          usedBytes
        }
      }
    }
  }
}
    `) as unknown as TypedDocumentString<NodeEventsSubscription, NodeEventsSubscriptionVariables>;
export const NodesDocument = new TypedDocumentString(`
    query Nodes {
  nodes(first: 20) {
    nodes {
      id
      hostname
      status
      capacity {
        cpuCores
        memoryBytes
      }
      hardware {
        cpu {
          model
        }
        memory {
          totalBytes
        }
        numa {
          id
          cpus
        }
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
    totalCount
  }
}
    `) as unknown as TypedDocumentString<NodesQuery, NodesQueryVariables>;
export const NodeNamesDocument = new TypedDocumentString(`
    query NodeNames {
  nodes(first: 100) {
    nodes {
      id
      hostname
      status
    }
    totalCount
  }
}
    `) as unknown as TypedDocumentString<NodeNamesQuery, NodeNamesQueryVariables>;
export const UpdateNodeDocument = new TypedDocumentString(`
    mutation UpdateNode($input: UpdateNodeInput!) {
  updateNode(input: $input) {
    node {
      id
      labels {
        key
        value
      }
    }
  }
}
    `) as unknown as TypedDocumentString<UpdateNodeMutation, UpdateNodeMutationVariables>;
