import { cursorExpired } from "../../events/cursor.ts";
import { Semaphore } from "../../semaphore.ts";
import { KubernetesFailure } from "../types.ts";
import { type ListLimits, listState, type WatchedObjects } from "./object-list.ts";
import { toRevision } from "./resource-version.ts";
import type { Recall } from "./subscription.ts";

/** Lists of what was, for one watch, that are held at the same time. */
const AT_ONCE = 2;

/** Asks the cluster what its objects were at a revision, which it knows until its store is compacted (5 minutes, usually). */
export function openRecall(objects: WatchedObjects, limits: ListLimits): Recall {
  const permits = new Semaphore(AT_ONCE);
  return {
    async stateAt(revision, signal) {
      const listed = await permits.run(() => listState(objects, limits, { revision, known: null, signal }), signal).catch(expireGone);
      // An API server that does not know "exactly" answers with another state.
      if (listed.revision !== revision) throw cursorExpired("EventsCompacted");
      return listed.state;
    },
    async checkReached(revision, signal) {
      const { api, kind, filter } = objects;
      const page = await api.list(kind, { ...filter, metadataOnly: true, limit: 1, signal });
      if (toRevision(page.resourceVersion) < revision) throw cursorExpired("CursorFromFuture");
    },
  };
}

function expireGone(error: unknown): never {
  if (error instanceof KubernetesFailure && error.isGone) throw cursorExpired("EventsCompacted");
  throw error;
}
