import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { KubernetesApi, KubernetesObject, ObjectFilter, ResourceKind } from "../types.ts";
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

/**
 * Everything that is to be watched, page by page; as of a revision where that is told. Equal JSON of `known` is taken from there, so that
 * nothing is kept twice.
 *
 * @throws KubernetesFailure, also `isGone`; FleetError RESOURCE_EXHAUSTED (reason WatchTooLarge).
 */
export async function listState(
  { api, kind, filter, metadataOnly, keep }: WatchedObjects,
  limits: ListLimits,
  { revision, known, signal }: { revision: number | null; known: ObjectState | null; signal: AbortSignal },
): Promise<ListedState> {
  const state = new Map<string, string>();
  let bytes = 0;
  let continueToken: string | null = null;
  do {
    const asOf: { continueToken?: string; resourceVersion?: string } = {};
    if (continueToken !== null) asOf.continueToken = continueToken;
    else if (revision !== null) asOf.resourceVersion = String(revision);
    const page = await api.list<KubernetesObject>(kind, { ...filter, ...asOf, metadataOnly, limit: limits.pageSize, signal });
    for (const object of page.items) {
      const { uid } = object.metadata;
      const json = keep(object);
      const old = known?.get(uid);
      state.set(uid, old === json ? old : json);
      bytes += json.length;
    }
    if (bytes > limits.maxStateBytes) throw watchTooLarge(kind);
    continueToken = page.continueToken;
    if (continueToken === null) return { state, revision: toRevision(page.resourceVersion) };
  } while (continueToken !== null);
  throw new Error("A list has no last page.");
}

export function watchTooLarge({ plural }: ResourceKind): FleetError {
  return new FleetError(
    "RESOURCE_EXHAUSTED",
    `There are more ${plural} than one watch can hold: watch one namespace, or fewer by a label or field selector.`,
    { reason: "WatchTooLarge" },
  );
}
