import { Directive, Field, ID, Int, ObjectType } from "type-graphql";
import { type Edge, edgeType } from "../../../kit/graphql/connection.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import { PageInfo, WatchEventFields } from "../../../kit/graphql/shared-types.ts";
import type { KubernetesClusterList } from "../../services/kubernetes/cluster-queries.ts";
import type { ClusterHealth, KubernetesClusterView } from "../../services/kubernetes/cluster-types.ts";
import { KubernetesClusterHealthEnum } from "./cluster-enums.ts";
import { KubernetesPrometheusType } from "./prometheus-type.ts";

@ObjectType("KubeconfigContext", { description: "A context of a kubeconfig, without any secret.", simpleResolvers: true })
export class KubeconfigContextType {
  @Field(() => String)
  name!: string;

  @Field(() => String, { description: "The name of the kubeconfig's cluster." })
  cluster!: string;

  @Field(() => String, { description: "The name of the kubeconfig's user." })
  user!: string;

  @Field(() => String, { nullable: true, description: "Null: the default one." })
  namespace!: string | null;

  @Field(() => String, { nullable: true, description: "The URL of the API server; null where the context cannot be used." })
  server!: string | null;

  @Field(() => String, {
    nullable: true,
    description: "How it signs in: TOKEN, CLIENT_CERTIFICATE, BASIC or NONE; null where it cannot be used.",
  })
  authentication!: string | null;

  @Field(() => Boolean)
  usable!: boolean;

  @Field(() => String, { nullable: true, description: "Why it cannot be used, and what to do." })
  problem!: string | null;
}

@ObjectType("KubernetesCluster", { description: "A Kubernetes cluster that an admin registered.", simpleResolvers: true })
@Directive('@key(fields: "id")')
export class KubernetesClusterType {
  @Field(() => ID)
  id!: string;

  @Field(() => String, { description: "Unique among clusters." })
  name!: string;

  @Field(() => Boolean, { description: "At most one cluster is the default." })
  isDefault!: boolean;

  @Field(() => Boolean, { description: "A disabled cluster is neither checked nor watched, and its objects are not read." })
  enabled!: boolean;

  @Field(() => String, { description: "The context that is used." })
  context!: string;

  @Field(() => [KubeconfigContextType], { description: "All contexts of the kubeconfig, in its order." })
  contexts!: KubeconfigContextType[];

  @Field(() => KubernetesClusterHealthEnum)
  healthStatus!: ClusterHealth;

  @Field(() => String, { nullable: true, description: "Why it is not HEALTHY: one word in CamelCase, for programs." })
  healthReason!: string | null;

  @Field(() => String, { nullable: true, description: "Why it is not HEALTHY: a sentence, for people." })
  healthMessage!: string | null;

  @Field(() => DateTime, { description: "Since when healthStatus is what it is." })
  healthSince!: string;

  @Field(() => DateTime, {
    nullable: true,
    description: "The last check that reached it, up to a minute or so late; null before the first.",
  })
  lastConnectedAt!: string | null;

  @Field(() => String, { nullable: true, description: "Of Kubernetes, such as v1.31.4; null before the first check." })
  version!: string | null;

  @Field(() => Int, {
    nullable: true,
    description: "As last counted; 0 before the first time, null where the cluster's account may not list nodes.",
  })
  nodeCount!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: "Of all namespaces, as last counted; 0 before the first time, null where the cluster's account may not list pods.",
  })
  podCount!: number | null;

  @Field(() => KubernetesPrometheusType)
  prometheus!: KubernetesPrometheusType;

  @Field(() => DateTime)
  createdAt!: string;

  @Field(() => DateTime, { description: "The last change that became an event." })
  updatedAt!: string;
}

const KubernetesClusterEdge = edgeType(KubernetesClusterType, "KubernetesCluster");

@ObjectType("KubernetesClusterHealthCount", { simpleResolvers: true })
export class KubernetesClusterHealthCountType {
  @Field(() => KubernetesClusterHealthEnum)
  healthStatus!: ClusterHealth;

  @Field(() => Int)
  count!: number;
}

@ObjectType("KubernetesClusterTotals", { description: "Over all clusters that match the filter, on every page.", simpleResolvers: true })
export class KubernetesClusterTotalsType {
  @Field(() => [KubernetesClusterHealthCountType], { description: "totalCount by health; each status occurs." })
  byHealthStatus!: KubernetesClusterHealthCountType[];

  @Field(() => Int, { description: "The sum of what was last counted." })
  nodeCount!: number;

  @Field(() => Int, { description: "The sum of what was last counted." })
  podCount!: number;
}

@ObjectType("KubernetesClusterConnection", { description: "One page of a list, with totals.", simpleResolvers: true })
export class KubernetesClusterConnection {
  @Field(() => [KubernetesClusterType], { description: "The page's objects, without their cursors." })
  nodes!: KubernetesClusterType[];

  @Field(() => [KubernetesClusterEdge])
  edges!: Edge<KubernetesClusterType>[];

  @Field(() => PageInfo)
  pageInfo!: PageInfo;

  @Field(() => Int, { description: "All that match the filter, on every page." })
  totalCount!: number;

  @Field(() => KubernetesClusterTotalsType)
  totals!: KubernetesClusterTotalsType;

  @Field(() => String, {
    description: "Taken before the list was read: a watch with it as `after` shows every change since, without a gap.",
  })
  watchCursor!: string;
}

@ObjectType("KubernetesClusterEvent", { description: "What happened to a Kubernetes cluster.", simpleResolvers: true })
export class KubernetesClusterEventType extends WatchEventFields {
  @Field(() => KubernetesClusterType, {
    nullable: true,
    description: "As it was after the event; its last state on DELETED, null on BOOKMARK.",
  })
  kubernetesCluster!: KubernetesClusterType | null;
}

/** A cluster as GraphQL shows it; its objects and its kubeconfig are read where they are asked for. */
export function toKubernetesClusterType({ revision: _, ...cluster }: KubernetesClusterView): KubernetesClusterType {
  return cluster;
}

export function toKubernetesClusterConnection({ edges: found, ...list }: KubernetesClusterList): KubernetesClusterConnection {
  const edges = found.map(({ cursor, node }) => ({ cursor, node: toKubernetesClusterType(node) }));
  return { ...list, edges, nodes: edges.map(({ node }) => node) };
}
