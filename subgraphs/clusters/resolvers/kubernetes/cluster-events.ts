import { Arg, Directive, ID, Resolver, Root, Subscription } from "type-graphql";
import { RESUMABLE } from "../../../kit/graphql/resumable.ts";
import { toWatchStream } from "../../../kit/graphql/watch-stream.ts";
import type { RawClusterFilter } from "../../services/kubernetes/cluster-input.ts";
import type { ClustersContext } from "../clusters-context.ts";
import { KubernetesClusterFilterInput } from "./cluster-inputs.ts";
import { KubernetesClusterEventType, toKubernetesClusterType } from "./cluster-type.ts";

interface KubernetesClusterEventsArgs {
  clusterIds?: string[] | null;
  filter?: RawClusterFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
}

@Resolver(() => KubernetesClusterEventType)
export class KubernetesClusterEventsResolver {
  @Directive(RESUMABLE)
  @Subscription(() => KubernetesClusterEventType, {
    description:
      "Changes of Kubernetes clusters: from now on, behind `after`, or with `snapshot` first what exists as ADDED and then a BOOKMARK. A cluster that enters or leaves the filter is ADDED or DELETED. Rights: viewer.",
    subscribe: ({ args, context }: { args: KubernetesClusterEventsArgs; context: ClustersContext }) =>
      toWatchStream(context.services.kubernetes.queries.watch(context.request, args), (cluster) => ({
        kubernetesCluster: cluster && toKubernetesClusterType(cluster),
      })),
  })
  kubernetesClusterEvents(
    @Root() event: KubernetesClusterEventType,
    @Arg("clusterIds", () => [ID], { nullable: true, description: "Only these; empty or left out: all." }) _clusterIds?: string[] | null,
    @Arg("filter", () => KubernetesClusterFilterInput, { nullable: true }) _filter?: KubernetesClusterFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "A cursor: go on behind it, without gap or repeat." }) _after?:
      | string
      | null,
    @Arg("snapshot", () => Boolean, { nullable: true, description: "First what exists. Not used with `after`." }) _snapshot?:
      | boolean
      | null,
  ): KubernetesClusterEventType {
    return event;
  }
}
