import { Arg, Ctx, Field, Float, ID, InputType, Int, Mutation, ObjectType, Resolver } from "type-graphql";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import type { ClustersContext } from "../clusters-context.ts";
import { RediscoverPrometheusInput, RediscoverPrometheusPayload } from "./prometheus-type.ts";

@InputType("TestKubernetesClusterConnectionInput")
export class TestKubernetesClusterConnectionInput {
  @Field(() => ID, { description: "The cluster's." })
  id!: string;
}

@ObjectType("TestKubernetesClusterConnectionPayload", { simpleResolvers: true })
export class TestKubernetesClusterConnectionPayload {
  @Field(() => ID)
  clusterId!: string;

  @Field(() => String)
  clusterName!: string;

  @Field(() => Boolean, { description: "Always true: what is not reached is an error." })
  connected!: boolean;

  @Field(() => String, { description: "As the API server tells it: v1.31.4." })
  kubernetesVersion!: string;

  @Field(() => Int, { nullable: true, description: "Null where the cluster's account may not list nodes." })
  nodeCount!: number | null;

  @Field(() => Float, { description: "Of one request, over a connection that is ready." })
  latencySeconds!: number;

  @Field(() => DateTime)
  testedAt!: Date;
}

@Resolver()
export class KubernetesHealthMutationsResolver {
  @Mutation(() => TestKubernetesClusterConnectionPayload, {
    description:
      "Goes all the way to a cluster, also to a disabled one. A failure is UNAVAILABLE; extensions.step tells how far it came: DNS, TCP, TLS, AUTHENTICATION, AUTHORIZATION, VERSION or REQUEST. Rights: viewer.",
  })
  testKubernetesClusterConnection(
    @Arg("input", () => TestKubernetesClusterConnectionInput) { id }: TestKubernetesClusterConnectionInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<TestKubernetesClusterConnectionPayload> {
    return services.kubernetes.connections.test(request, id);
  }

  @Mutation(() => RediscoverPrometheusPayload, {
    description:
      "Begins to look for a cluster's Prometheus; KubernetesCluster.prometheus and kubernetesClusterEvents tell what comes of it, within 30 s. CONFLICT while a run is under way, FAILED_PRECONDITION where its URL was set by hand. Rights: viewer.",
  })
  rediscoverPrometheus(
    @Arg("input", () => RediscoverPrometheusInput) { id }: RediscoverPrometheusInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<RediscoverPrometheusPayload> {
    return services.kubernetes.prometheus.rediscover(request, id);
  }
}
