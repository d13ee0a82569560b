import { hasRole } from "../../../platform/auth/identity.ts";
import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import {
  ComputeServiceDefinition,
  type GetInstanceStatsRequest,
  type InstanceStats,
  type Instance as ProtoInstance,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { mapIterator } from "../../kit/graphql/async-iterators.ts";
import { inMessageFields, withMessageFields } from "../../kit/grpc/field-names.ts";
import type { ComputeServices } from "../services/compute-services.ts";
import type { InstanceView } from "../services/instance-types.ts";
import { attachConsoleMessages } from "./attach-console.ts";
import { imageFilterFromMessage, imagesToMessage, pullOverGrpc } from "./image-messages.ts";
import { creationFromMessage, eventToMessage, filterFromMessage, instanceToMessage, textOrNull, watchFilter } from "./instance-messages.ts";

/** Names that only some messages have. */
const CREATE_FIELDS = { labels: "metadata.labels", annotations: "metadata.annotations" };
const LIST_FIELDS = { first: "page_size", after: "page_token" };
const WATCH_FIELDS = { "filter.ids": "instance_id" };

/** hypervisor.v1.ComputeService: each method maps its message, calls the service that GraphQL calls too, and maps the answer. */
export function computeService(services: ComputeServices): GrpcService {
  const { queries, creation, requests } = services;
  /** One instance, with its secrets for those who may see them. */
  const answer = async (fleet: RequestContext, view: InstanceView) => (await toMessages(services, fleet, [view]))[0] as ProtoInstance;
  return grpcService(ComputeServiceDefinition, {
    createInstance: (request, { fleet }) =>
      withMessageFields(async () => answer(fleet, await creation.create(fleet, creationFromMessage(request))), CREATE_FIELDS),
    deleteInstance: ({ instanceId, force }, { fleet }) =>
      withMessageFields(async () => {
        await requests.delete(fleet, instanceId, { force });
        return {};
      }),
    getInstance: ({ instanceId }, { fleet }) => withMessageFields(async () => answer(fleet, await queries.get(fleet, instanceId))),
    listInstances: (request, { fleet }) =>
      withMessageFields(async () => {
        const page = { first: request.pageSize === 0 ? null : request.pageSize, after: textOrNull(request.pageToken) };
        const filter = filterFromMessage(request, { includeDeleted: request.includeDeleted });
        const list = await queries.list(fleet, filter, page);
        return {
          instances: await toMessages(services, fleet, list.nodes),
          nextPageToken: list.pageInfo.hasNextPage ? (list.pageInfo.endCursor ?? "") : "",
          totalCount: list.totalCount,
          watchCursor: list.watchCursor,
        };
      }, LIST_FIELDS),
    startInstance: ({ instanceId }, { fleet }) => withMessageFields(async () => answer(fleet, await requests.start(fleet, instanceId))),
    stopInstance: ({ instanceId, ...options }, { fleet }) =>
      withMessageFields(async () => answer(fleet, await requests.stop(fleet, instanceId, options))),
    restartInstance: ({ instanceId, force }, { fleet }) =>
      withMessageFields(async () => answer(fleet, await requests.restart(fleet, instanceId, { force }))),
    suspendInstance: ({ instanceId, toDisk }, { fleet }) =>
      withMessageFields(async () => answer(fleet, await requests.suspend(fleet, instanceId, { toDisk }))),
    resumeInstance: ({ instanceId }, { fleet }) => withMessageFields(async () => answer(fleet, await requests.resume(fleet, instanceId))),
    resizeInstance: ({ instanceId, ...sizes }, { fleet }) =>
      withMessageFields(async () => answer(fleet, await requests.resize(fleet, instanceId, sizes))),
    adoptInstance: ({ instanceId }, { fleet }) => withMessageFields(async () => answer(fleet, await requests.adopt(fleet, instanceId))),
    getInstanceStats: (request, { fleet }) => withMessageFields(() => readStats(services, fleet, request)),
    watchInstance(request, { fleet }) {
      try {
        const { after, snapshot, bookmarks } = request;
        const events = queries.watch(fleet, { filter: watchFilter(request), after: textOrNull(after), snapshot, bookmarks });
        return mapIterator(events, eventToMessage);
      } catch (error) {
        throw inMessageFields(error, WATCH_FIELDS);
      }
    },
    attachConsole: (inputs, { fleet }) => attachConsoleMessages(services.consoles, fleet, inputs),
    listImages: (request, { fleet }) =>
      withMessageFields(async () => {
        const { images, unavailable } = await services.images.queries.all(fleet, imageFilterFromMessage(request));
        return imagesToMessage(images, unavailable);
      }),
    pullImage: (request, { fleet }) => pullOverGrpc(services.images.pulls, fleet, request),
  });
}

/** Variables and user data go to those who may set them. */
async function toMessages({ queries }: ComputeServices, fleet: RequestContext, views: readonly InstanceView[]): Promise<ProtoInstance[]> {
  const maySee = hasRole(fleet.identity, "operator") && views.length > 0;
  const secrets = maySee
    ? await queries.secrets(
        fleet,
        views.map(({ id }) => id),
      )
    : [];
  return views.map((view, index) => instanceToMessage(view, secrets[index] ?? null));
}

/** Throws FAILED_PRECONDITION (reason InstanceNotRunning), UNAVAILABLE with the reason why its agent was not asked or did not answer. */
async function readStats(
  { queries, stats }: ComputeServices,
  fleet: RequestContext,
  { instanceId }: GetInstanceStatsRequest,
): Promise<InstanceStats> {
  const [outcome] = await stats.read(fleet, [await queries.get(fleet, instanceId)]);
  if (outcome === undefined) throw new Error("A reading has no outcome.");
  if ("refusal" in outcome) throw outcome.refusal;
  return outcome.stats;
}
