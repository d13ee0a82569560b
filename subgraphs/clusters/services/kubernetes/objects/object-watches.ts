import { requireRole } from "../../../../../platform/auth/identity.ts";
import type { Logger } from "../../../../../platform/observability/log.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { WatchedEvent } from "../../../../kit/graphql/watch-stream.ts";
import { SharedReflectors } from "../../../../kit/kubernetes/reflector/shared-reflectors.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import { checkObjectFilter, type RawObjectFilter } from "./object-filter.ts";
import { type ObjectKind, watchTarget } from "./object-kinds.ts";

export interface RawObjectWatch extends RawObjectFilter {
  clusterId: string;
  after?: string | null;
  snapshot?: boolean | null;
}

/** Watches of clusters' objects, shared by all who subscribe to the same ones. What they know is kept while somebody does. */
export class ObjectWatches {
  readonly #clients: ClusterClients;
  readonly #reflectors: SharedReflectors;

  constructor(clients: ClusterClients, log: Logger) {
    this.#clients = clients;
    this.#reflectors = new SharedReflectors({ log });
    clients.onDropped((clusterId, why) => this.#reflectors.drop(clusterId, why));
  }

  /**
   * Rights: viewer. Stays open while the cluster cannot be reached, and then tells what changed meanwhile; ends with an error when the cluster
   * is disabled or deleted, or its access changed. Throws INVALID_ARGUMENT (field), NOT_FOUND, FAILED_PRECONDITION (ClusterDisabled), CURSOR_EXPIRED,
   * RESOURCE_EXHAUSTED (TooManyWatches); the rest comes with the first event.
   */
  async watch<View>(
    ctx: RequestContext,
    kind: ObjectKind<View>,
    { clusterId, after, snapshot, ...rawFilter }: RawObjectWatch,
  ): Promise<AsyncIterableIterator<WatchedEvent<View>>> {
    requireRole(ctx.identity, "viewer");
    const filter = checkObjectFilter(rawFilter);
    const { api, cluster } = await this.#clients.api(clusterId);
    const options = { after, snapshot: snapshot ?? false, signal: ctx.signal };
    return this.#reflectors.subscribe(api, watchTarget(kind, cluster, filter), options);
  }

  stop(): void {
    this.#reflectors.stop();
  }
}
