import { Arg, Args, Ctx, FieldResolver, ID, Query, Resolver, Root } from "type-graphql";
import { ConnectionArgs } from "../../../kit/graphql/connection.ts";
import type { ClustersContext } from "../clusters-context.ts";
import { KubernetesClusterFilterInput } from "./cluster-inputs.ts";
import {
  KubernetesClusterConnection,
  KubernetesClusterType,
  toKubernetesClusterConnection,
  toKubernetesClusterType,
} from "./cluster-type.ts";

@Resolver(() => KubernetesClusterType)
export class KubernetesClusterQueriesResolver {
  @Query(() => KubernetesClusterConnection, { description: "Kubernetes clusters by name. Rights: viewer." })
  async kubernetesClusters(
    @Arg("filter", () => KubernetesClusterFilterInput, { nullable: true }) filter: KubernetesClusterFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<KubernetesClusterConnection> {
    return toKubernetesClusterConnection(await services.kubernetes.queries.list(request, filter, page));
  }

  @Query(() => KubernetesClusterType, {
    nullable: true,
    description: "One Kubernetes cluster. Rights: viewer. NOT_FOUND where there is none.",
  })
  async kubernetesCluster(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ClustersContext): Promise<KubernetesClusterType> {
    return toKubernetesClusterType(await services.kubernetes.queries.get(request, id));
  }

  @Query(() => KubernetesClusterType, {
    nullable: true,
    description: "The default Kubernetes cluster; null while none is. Rights: viewer.",
  })
  async defaultKubernetesCluster(@Ctx() { request, services }: ClustersContext): Promise<KubernetesClusterType | null> {
    const cluster = await services.kubernetes.queries.getDefault(request);
    return cluster && toKubernetesClusterType(cluster);
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: "YAML in base64, with its secrets; null once the cluster was deleted. Each reading is logged. Rights: admin.",
  })
  kubeconfig(@Root() { id }: KubernetesClusterType, @Ctx() { request, services }: ClustersContext): Promise<string | null> {
    return services.kubernetes.queries.kubeconfig(request, id);
  }
}

/** Resolves `KubernetesCluster` where another subgraph refers to one; null where there is none. */
export async function resolveKubernetesClusterReference(
  { id }: { id: string },
  { kubernetesClusters }: ClustersContext,
): Promise<KubernetesClusterType | null> {
  const cluster = await kubernetesClusters.load(id);
  return cluster && toKubernetesClusterType(cluster);
}
