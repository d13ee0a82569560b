import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { type KubernetesApi, KubernetesFailure, type KubernetesObject, type ObjectFilter, type ResourceKind } from "../types.ts";
import type { ObjectState } from "./object-state.ts";
import { toRevision } from "./resource-version.ts";

/** Which objects of a cluster are watched, and what is kept of each. */
export interface WatchedObjects {
  api: KubernetesApi;
  kind: ResourceKind;
  filter: ObjectFilter;
  metadataOnly: boolean;
  /** An object's JSON as it is kept. */
  keep(object: KubernetesObject): string;
}

export interface ListLimits {
  /** Objects of one page. */
  pageSize: number;
  /** Of all that is kept, in characters. */
  maxStateBytes: number;
}

export interface ListedState {
  state: Map<string, string>;
  revision: number;
}

export interface ListQuestion {
  /** As of then; null for now. */
  revision: number | null;
  /** Equal JSON is taken from here, so that nothing is kept twice. */
  known: ObjectState | null;
  signal: AbortSignal;
}

/** Objects of a page are not more than 1.5 MB each, which is what etcd takes. */
const SMALLEST_PAGE = 5;

/**
 * Everything that is to be watched, page by page; in smaller pages where objects are so large that a page is too large an answer.
 *
 * @throws KubernetesFailure, also `isGone`; FleetError RESOURCE_EXHAUSTED (reason WatchTooLarge).
 */
export async function listState(objects: WatchedObjects, limits: ListLimits, question: ListQuestion): Promise<ListedState> {
  for (let { pageSize } = limits; ; pageSize = Math.max(SMALLEST_PAGE, Math.floor(pageSize / 10))) {
    try {
      return await listPages(objects, { ...limits, pageSize }, question);
    } catch (error) {
      const tooLarge = error instanceof KubernetesFailure && error.reason === "TooLarge";
      if (!tooLarge || pageSize <= SMALLEST_PAGE) throw error;
    }
  }
}

async function listPages(
  { api, kind, filter, metadataOnly, keep }: WatchedObjects,
  { pageSize, maxStateBytes }: ListLimits,
  { revision, known, signal }: ListQuestion,
): Promise<ListedState> {
  const state = new Map<string, string>();
  let bytes = 0;
  let asOf: { continueToken?: string; resourceVersion?: string } = revision === null ? {} : { resourceVersion: String(revision) };
  for (;;) {
    const page = await api.list<KubernetesObject>(kind, { ...filter, ...asOf, metadataOnly, limit: pageSize, signal });
    for (const object of page.items) {
      const { uid } = object.metadata;
      const json = keep(object);
      const old = known?.get(uid);
      state.set(uid, old === json ? old : json);
      bytes += json.length;
    }
    if (bytes > maxStateBytes) throw watchTooLarge(kind);
    if (page.continueToken === null) return { state, revision: toRevision(page.resourceVersion) };
    asOf = { continueToken: page.continueToken };
  }
}

export function watchTooLarge({ plural }: ResourceKind): FleetError {
  return new FleetError(
    "RESOURCE_EXHAUSTED",
    `There are more ${plural} than one watch can hold: watch one namespace, or fewer by a label or field selector.`,
    { reason: "WatchTooLarge" },
  );
}
