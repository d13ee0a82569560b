import { createLogger } from "../../platform/observability/log.ts";
import type { WatchedEvent } from "../../subgraphs/kit/graphql/watch-stream.ts";
import { openReflector, type Reflector, type ReflectorOptions } from "../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import type { ReflectorLimits } from "../../subgraphs/kit/kubernetes/reflector/reflector-limits.ts";
import { type KubernetesApi, type ObjectFilter, PODS } from "../../subgraphs/kit/kubernetes/types.ts";
import type { ScriptedObject } from "./scripted-kubernetes.ts";

export const ALL_OBJECTS: ObjectFilter = { namespace: null, labelSelector: null, fieldSelector: null };

/** What is told of a scripted object: all but what is hidden. */
export interface Shown {
  uid: string;
  name: string;
  shown: string;
}

/** Everything as in production, but small pages and short pauses. */
export const QUICK: Partial<ReflectorLimits> = { pageSize: 3, firstRetryMs: 5, longestRetryMs: 20, openMs: 200, refusedMs: 100 };

export const quietLog = createLogger({ name: "test", level: "silent" });

export function project({ metadata, spec }: ScriptedObject): Shown {
  return { uid: metadata.uid, name: metadata.name, shown: spec.shown };
}

/** `limits` are added to the quick ones. */
export function openScripted(
  api: KubernetesApi,
  { limits = {}, ...options }: Partial<ReflectorOptions<ScriptedObject, Shown>> = {},
): Reflector<Shown> {
  const identity = { stream: "things", epoch: "1" };
  return openReflector({
    api,
    kind: PODS,
    filter: ALL_OBJECTS,
    project,
    identity,
    log: quietLog,
    limits: { ...QUICK, ...limits },
    ...options,
  });
}

/** What is kept, by name. */
export function shownBy(reflector: Reflector<Shown>): Record<string, string> {
  return Object.fromEntries([...reflector.objects()].map(({ name, shown }) => [name, shown]));
}

/** "ADDED a=1", "BOOKMARK". */
export function brief({ type, object }: WatchedEvent<Shown>): string {
  return object ? `${type} ${object.name}=${object.shown}` : type;
}

/** The next events, briefly. */
export async function take(events: AsyncIterator<WatchedEvent<Shown>>, count: number): Promise<string[]> {
  return (await takeEvents(events, count)).map(brief);
}

export async function takeEvents<T>(events: AsyncIterator<WatchedEvent<T>>, count: number): Promise<Array<WatchedEvent<T>>> {
  const taken: Array<WatchedEvent<T>> = [];
  while (taken.length < count) {
    const next = await events.next();
    if (next.done === true) throw new Error(`The watch was done after ${taken.length} of ${count} events.`);
    taken.push(next.value);
  }
  return taken;
}
