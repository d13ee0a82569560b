import { Args, type ClassType, Ctx, Directive, FieldResolver, Resolver, Root, Subscription } from "type-graphql";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { RESUMABLE } from "../../../../kit/graphql/resumable.ts";
import type { WatchEventFields } from "../../../../kit/graphql/shared-types.ts";
import { toWatchStream } from "../../../../kit/graphql/watch-stream.ts";
import type { ObjectKind } from "../../../services/kubernetes/objects/object-kinds.ts";
import type { RawObjectWatch } from "../../../services/kubernetes/objects/object-watches.ts";
import type { ClustersContext } from "../../clusters-context.ts";
import { KubernetesClusterType } from "../cluster-type.ts";
import { type ObjectListArgs, type ObjectWatchArgs, objectArgs } from "./object-args.ts";
import { type ObjectConnection, objectConnectionType, objectEventType } from "./object-connection.ts";

/** How a kind of objects appears in GraphQL. */
export interface ObjectFace<View extends object> {
  kind: ObjectKind<View>;
  type: ClassType<View>;
  /** "Pod": of its types, KubernetesPod…, and of its subscription, kubernetesPodEvents. */
  name: string;
  /** "pods": of KubernetesCluster. */
  field: string;
}

/** The resolvers of a kind: its list on KubernetesCluster, and its subscription. To be called once per kind. */
export function objectResolvers<View extends object>({ kind, type, name, field }: ObjectFace<View>): ClassType[] {
  const args = objectArgs(kind.resource.namespaced);
  const objectField = `kubernetes${name}`;
  const ConnectionType = objectConnectionType(type, `Kubernetes${name}`);
  const EventType = objectEventType(type, `Kubernetes${name}`, objectField);

  @Resolver(() => KubernetesClusterType)
  class ListResolver {
    @FieldResolver(() => ConnectionType, {
      name: field,
      nullable: true,
      description:
        "Read from the cluster for each request, at most 5 s long. Null where the cluster was deleted, and with the reason where it cannot be read: UNAVAILABLE with the step at which it failed, FAILED_PRECONDITION (ClusterDisabled; Forbidden: the cluster's account may not), CURSOR_EXPIRED where the list was begun too long ago. Rights: viewer.",
    })
    async [field](
      @Root() { id }: KubernetesClusterType,
      @Args(() => args.list) { first, after, ...filter }: ObjectListArgs,
      @Ctx() { request, services }: ClustersContext,
    ): Promise<ObjectConnection<View> | null> {
      try {
        const page = await services.kubernetes.objects.lists.list(request, kind, id, filter, { first, after });
        return { ...page, nodes: page.edges.map(({ node }) => node) };
      } catch (error) {
        if (isGone(error)) return null;
        throw error;
      }
    }
  }

  @Resolver(() => EventType)
  class EventsResolver {
    @Directive(RESUMABLE)
    @Subscription(() => EventType, {
      name: `kubernetes${name}Events`,
      description:
        "Changes that show in these objects of one cluster: from now on, behind `after`, or with `snapshot` first what exists as ADDED and then a BOOKMARK. An object that enters or leaves the selectors is ADDED or DELETED. While the cluster cannot be reached nothing comes; nothing is lost, but what changed twice meanwhile may show once. Ends with FAILED_PRECONDITION (ClusterDisabled), NOT_FOUND (ClusterDeleted) or CURSOR_EXPIRED (ClusterAccessChanged) when that happens to the cluster. Rights: viewer.",
      subscribe: async ({ args, context }: { args: RawObjectWatch; context: ClustersContext }) =>
        toWatchStream(await context.services.kubernetes.objects.watches.watch(context.request, kind, args), (object) => ({
          [objectField]: object,
        })),
    })
    [objectField](@Root() event: WatchEventFields, @Args(() => args.watch) _args: ObjectWatchArgs): WatchEventFields {
      return event;
    }
  }

  return [ListResolver, EventsResolver];
}

/** As on the DELETED event of a cluster: what it had is null without an error. */
function isGone(error: unknown): boolean {
  return error instanceof FleetError && error.code === "NOT_FOUND" && error.details.kind === "KubernetesCluster";
}
