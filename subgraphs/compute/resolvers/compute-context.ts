import DataLoader from "dataloader";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { SubgraphContext } from "../../kit/graphql/context.ts";
import type { ComputeServices } from "../services/compute-services.ts";
import type { ConsoleSessionView } from "../services/consoles/console-types.ts";
import type { InstanceSecrets, InstanceView } from "../services/instance-types.ts";
import type { NodeInstanceTotals } from "../services/node-instance-totals.ts";
import type { TypeSupport } from "../services/report-input.ts";
import type { Readable, StatsOutcome } from "../services/stats-reads.ts";
import type { VolumeView } from "../services/storage/storage-types.ts";
import type { TaskView } from "../services/tasks/task-types.ts";

/** What the resolvers of this subgraph find in their context. All loaders are by id, and give null where there is none. */
export interface ComputeContext extends SubgraphContext {
  readonly services: ComputeServices;
  readonly instances: DataLoader<string, InstanceView | null>;
  readonly tasks: DataLoader<string, TaskView | null>;
  /** Of all pools of a node, in one call. */
  readonly nodeVolumes: DataLoader<string, VolumeView[]>;
  readonly secrets: DataLoader<string, InstanceSecrets | null>;
  /** One call per node, however many of its instances a request asks for. */
  readonly stats: DataLoader<Readable, StatsOutcome, string>;
  readonly nodeTotals: DataLoader<string, NodeInstanceTotals>;
  readonly typeSupport: DataLoader<string, TypeSupport[] | null>;
  /** By the node's id: one call per node, however many of its instances a request asks for. */
  readonly consoles: DataLoader<string, ConsoleSessionView[]>;
}

const BATCH = { maxBatchSize: 500 };

/** Anew for every query, mutation and event. */
export function computeContext(services: ComputeServices, request: RequestContext): ComputeContext {
  const { queries } = services;
  return {
    request,
    services,
    instances: new DataLoader((ids) => queries.getMany(request, ids), BATCH),
    tasks: new DataLoader((ids) => services.tasks.getMany(request, ids), BATCH),
    nodeVolumes: new DataLoader((nodeIds) => Promise.all(nodeIds.map((id) => services.storage.volumes(request, id).catch(asError))), BATCH),
    secrets: new DataLoader((ids) => queries.secrets(request, ids), BATCH),
    stats: new DataLoader((instances) => services.stats.read(request, instances), { ...BATCH, cacheKeyFn: ({ id }) => id }),
    nodeTotals: new DataLoader((nodeIds) => queries.nodeTotals(request, nodeIds), BATCH),
    typeSupport: new DataLoader((nodeIds) => queries.typeSupport(request, nodeIds), BATCH),
    consoles: new DataLoader((nodeIds) => Promise.all(nodeIds.map((id) => services.consoles.ofNode(request, id).catch(asError))), BATCH),
  };
}

/** For a loader whose keys fail each for itself. */
function asError(error: unknown): Error {
  return FleetError.from(error);
}
