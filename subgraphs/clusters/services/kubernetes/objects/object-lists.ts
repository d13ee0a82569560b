import { requireRole } from "../../../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import { checkInteger } from "../../../../kit/input-checks.ts";
import { watchCursor } from "../../../../kit/kubernetes/reflector/shared-reflectors.ts";
import { KubernetesFailure, type KubernetesObject, type ListPage } from "../../../../kit/kubernetes/types.ts";
import { type ConnectionArguments, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, type PageInfo } from "../../../../kit/pagination.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import { BEGINNING, decodeListCursor, encodeListCursor, type ListIdentity, type ListPosition, listExpired } from "./list-cursor.ts";
import { checkObjectFilter, type RawObjectFilter } from "./object-filter.ts";
import { type ObjectKind, watchTarget } from "./object-kinds.ts";

/** What one cluster may take, so that a silent one does not hold a query over all of them. */
const READ_MS = 5_000;
/** The same where the last check did not reach it either. */
const AWAY_READ_MS = 1_000;
/** Objects before a position in the middle of a page, which are read again and left out. */
const MAX_SKIP = 400;

export interface ObjectPage<View> {
  edges: Array<{ node: View; cursor: string }>;
  pageInfo: PageInfo;
  /** Null where the API does not tell: behind a selector, before the last page. */
  totalCount: number | null;
  watchCursor: string;
}

/** Lists of clusters' objects: each page is read from the cluster, and nothing is kept. */
export class ObjectLists {
  readonly #clients: ClusterClients;

  constructor(clients: ClusterClients) {
    this.#clients = clients;
  }

  /**
   * Rights: viewer. Throws INVALID_ARGUMENT (field), NOT_FOUND, FAILED_PRECONDITION (ClusterDisabled; Forbidden where the cluster's account may not),
   * UNAVAILABLE with the step, CURSOR_EXPIRED.
   */
  async list<View>(
    ctx: RequestContext,
    kind: ObjectKind<View>,
    clusterId: string,
    rawFilter: RawObjectFilter,
    { first, after }: ConnectionArguments,
  ): Promise<ObjectPage<View>> {
    requireRole(ctx.identity, "viewer");
    const filter = checkObjectFilter(rawFilter);
    const size = checkInteger("first", first ?? DEFAULT_PAGE_SIZE, 1, MAX_PAGE_SIZE);
    const { api, cluster } = await this.#clients.api(clusterId);
    const identity: ListIdentity = { clusterId, revision: cluster.revision, kind: kind.resource.plural, filter };
    const position = typeof after === "string" ? decodeListCursor(identity, after) : BEGINNING;
    if (position.skip > MAX_SKIP) throw invalidArgument("after", "Too far into a page: go on from the `endCursor` of a page.");
    const page = await failuresOf(clusterId, () =>
      api.list(kind.resource, {
        ...filter,
        limit: position.skip + size,
        continueToken: position.token ?? undefined,
        resourceVersion: position.at ?? undefined,
        signal: ctx.signal,
        timeoutMs: cluster.healthStatus === "UNAVAILABLE" ? AWAY_READ_MS : READ_MS,
      }),
    );
    return {
      ...pageOf(identity, position, page, kind),
      watchCursor: watchCursor(watchTarget(kind, cluster, filter), page.resourceVersion),
    };
  }
}

/** The page's objects, each with the place behind it. */
function pageOf<View>(
  identity: ListIdentity,
  position: ListPosition,
  { items, continueToken, remainingItemCount, resourceVersion }: ListPage<KubernetesObject>,
  kind: ObjectKind<View>,
): Omit<ObjectPage<View>, "watchCursor"> {
  const at = position.token === null ? resourceVersion : null;
  const end = position.before + items.length;
  const behind = (index: number): ListPosition =>
    continueToken !== null && index === items.length - 1
      ? { token: continueToken, at: null, before: end, skip: 0 }
      : { ...position, at, skip: index + 1 };
  const all = items.map((item, index) => ({ item, cursor: encodeListCursor(identity, behind(index)) }));
  const edges = all.slice(position.skip).map(({ item, cursor }) => ({ node: kind.view.project(item), cursor }));
  const behindAll = continueToken === null ? 0 : remainingItemCount;
  return {
    edges,
    pageInfo: {
      hasNextPage: continueToken !== null,
      hasPreviousPage: position.before + position.skip > 0,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
    totalCount: behindAll === null ? null : end + behindAll,
  };
}

/** A cluster's failures with the cluster that they are of: one query may ask many. */
export async function failuresOf<T>(clusterId: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof KubernetesFailure ? failureOf(clusterId, error) : error;
  }
}

export function failureOf(clusterId: string, failure: KubernetesFailure): FleetError {
  if (failure.isGone) return listExpired(failure);
  const { code, message, reason, details } = failure;
  return new FleetError(code, message, { reason, details: { ...details, clusterId }, cause: failure });
}
