import { Args, Ctx, FieldResolver, Resolver, Root, Subscription } from "type-graphql";
import type { ClustersContext } from "../../clusters-context.ts";
import { KubernetesClusterType } from "../cluster-type.ts";
import { KubernetesPodLogBatchType, KubernetesPodLogType, PodLogFollowArgs, PodLogReadArgs } from "./pod-log-types.ts";

@Resolver(() => KubernetesClusterType)
export class KubernetesPodLogsResolver {
  @FieldResolver(() => KubernetesPodLogType, {
    nullable: true,
    description:
      "What a container wrote, read from its kubelet through the API server, at most 10 s long. FAILED_PRECONDITION where it never ran (ContainerWaiting) or only once (NoPreviousContainer), RESOURCE_EXHAUSTED (LogTooLong) where the lines are more than 32 MiB. Rights: operator.",
  })
  podLogs(
    @Root() { id }: KubernetesClusterType,
    @Args(() => PodLogReadArgs) args: PodLogReadArgs,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<KubernetesPodLogType> {
    return services.kubernetes.objects.logs.read(request, id, args);
  }

  @Subscription(() => KubernetesPodLogBatchType, {
    description:
      "The newest lines of a container's log, then what it writes, until it ends. A reader that is slow holds the log back and misses nothing. Rights: operator.",
    subscribe: ({ args, context }: { args: PodLogFollowArgs; context: ClustersContext }) =>
      context.services.kubernetes.objects.logs.follow(context.request, args.clusterId, args),
  })
  kubernetesPodLogs(
    @Root() batch: KubernetesPodLogBatchType,
    @Args(() => PodLogFollowArgs) _args: PodLogFollowArgs,
  ): KubernetesPodLogBatchType {
    return batch;
  }
}
