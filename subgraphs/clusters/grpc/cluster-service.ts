import { type GrpcService, grpcService } from "../../../platform/grpc/server.ts";
import {
  ClusterServiceDefinition,
  type HeartbeatRequest,
  type RegisterNodeRequest,
  type ServiceEndpoint,
  type UpdateNodeRequest,
} from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { mapIterator } from "../../kit/graphql/async-iterators.ts";
import { inMessageFields, withMessageFields } from "../../kit/grpc/field-names.ts";
import type { ClustersConfig } from "../config.ts";
import type { ClustersServices } from "../services/clusters-services.ts";
import type { RawHeartbeat, RawRegistration } from "../services/node-input.ts";
import type { NodePatch } from "../services/node-types.ts";
import { conditionFromMessage, enumName, eventToMessage, filterFromMessage, nodeToMessage, textOrNull } from "./node-messages.ts";

/** Names that only listing has. */
const LIST_FIELDS = { first: "page_size", after: "page_token" };

/** hypervisor.v1.ClusterService: each method maps its message, calls the service that GraphQL calls too, and maps the answer. */
export function clusterService(
  services: ClustersServices,
  config: Pick<ClustersConfig, "heartbeatIntervalSeconds" | "leaseTtlSeconds">,
  endpoints: ServiceEndpoint[],
): GrpcService {
  return grpcService(ClusterServiceDefinition, {
    registerNode: (request, { fleet }) =>
      withMessageFields(async () => {
        const node = await services.registration.register(fleet, registrationOf(request));
        return {
          nodeId: node.id,
          heartbeatIntervalSeconds: config.heartbeatIntervalSeconds,
          leaseTtlSeconds: config.leaseTtlSeconds,
          endpoints,
        };
      }),
    deregisterNode: (request, { fleet }) =>
      withMessageFields(async () => {
        await services.registration.deregister(fleet, request.nodeId);
        return {};
      }),
    getNode: (request, { fleet }) => withMessageFields(async () => nodeToMessage(await services.queries.get(fleet, request.nodeId))),
    listNodes: (request, { fleet }) =>
      withMessageFields(async () => {
        const page = { first: request.pageSize === 0 ? null : request.pageSize, after: textOrNull(request.pageToken) };
        const list = await services.queries.list(fleet, filterFromMessage(request, request.deregistered), page);
        return {
          nodes: list.nodes.map(nodeToMessage),
          nextPageToken: list.pageInfo.hasNextPage ? (list.pageInfo.endCursor ?? "") : "",
          totalCount: list.totalCount,
          watchCursor: list.watchCursor,
        };
      }, LIST_FIELDS),
    updateNodeStatus: (request, { fleet }) =>
      withMessageFields(async () => {
        const conditions = request.conditions.map(conditionFromMessage);
        return nodeToMessage(await services.changes.updateStatus(fleet, request.nodeId, enumName(request.status), conditions));
      }),
    heartbeat: (request, { fleet }) =>
      withMessageFields(async () => {
        const { accepted, nextHeartbeatSeconds, commands, receivedAt } = await services.heartbeats.take(fleet, heartbeatOf(request));
        return { accepted, nextHeartbeatSeconds, commands: [...commands], receivedAt };
      }),
    watchNodes(request, { fleet }) {
      try {
        const events = services.queries.watch(fleet, {
          nodeIds: request.nodeIds,
          filter: filterFromMessage(request),
          after: textOrNull(request.after),
          snapshot: request.snapshot,
          bookmarks: request.bookmarks,
        });
        return mapIterator(events, eventToMessage);
      } catch (error) {
        throw inMessageFields(error);
      }
    },
    getClusterInfo: async (_request, { fleet }) => {
      const { clusterName, totalNodes, readyNodes, totalCapacity, totalAllocated } = await services.queries.clusterInfo(fleet);
      return { clusterName, totalNodes, readyNodes, totalCapacity, totalAllocated };
    },
    updateNode: (request, { fleet }) =>
      withMessageFields(async () => nodeToMessage(await services.changes.update(fleet, request.nodeId, patchOf(request)))),
    setMaintenance: (request, { fleet }) =>
      withMessageFields(async () =>
        nodeToMessage(await services.changes.setMaintenance(fleet, request.nodeId, request.maintenance, textOrNull(request.reason))),
      ),
    assignNode: (request, { fleet }) =>
      withMessageFields(async () =>
        nodeToMessage(await services.changes.assign(fleet, request.nodeId, request.agentId, textOrNull(request.uri))),
      ),
    admitNode: (request, { fleet }) =>
      withMessageFields(async () => nodeToMessage(await services.registration.admit(fleet, request.nodeId))),
  });
}

function registrationOf(request: RegisterNodeRequest): RawRegistration {
  const { metadata, ...rest } = request;
  return {
    ...rest,
    role: enumName(request.role),
    kind: enumName(request.kind),
    labels: metadata?.labels ?? null,
    annotations: metadata?.annotations ?? null,
  };
}

function heartbeatOf(request: HeartbeatRequest): RawHeartbeat {
  return { ...request, status: enumName(request.status), sentAt: request.sentAt ?? null };
}

function patchOf({ labels, annotations, region, zone }: UpdateNodeRequest): NodePatch {
  const patch: NodePatch = {};
  if (labels) patch.labels = labels.entries;
  if (annotations) patch.annotations = annotations.entries;
  if (region !== undefined) patch.region = textOrNull(region);
  if (zone !== undefined) patch.zone = textOrNull(zone);
  return patch;
}
