import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { cursorExpired } from "../../events/cursor.ts";
import type { WatchedEvent } from "../../graphql/watch-stream.ts";
import type { KubernetesApi, KubernetesObject, ObjectFilter, ResourceKind } from "../types.ts";
import { type Following, followCluster } from "./follow-cluster.ts";
import type { WatchedObjects } from "./object-list.ts";
import type { StreamIdentity } from "./position.ts";
import { PromptIterator } from "./prompt-iterator.ts";
import { openRecall } from "./recall.ts";
import { DEFAULT_LIMITS, type ReflectorLimits } from "./reflector-limits.ts";
import { type Recall, type SubscribeOptions, Subscription } from "./subscription.ts";
import { WatchedState } from "./watched-state.ts";

export interface ReflectorOptions<O extends KubernetesObject, T> {
  api: KubernetesApi;
  kind: ResourceKind;
  filter: ObjectFilter;
  /** Only metadata is read, and given to `project`. */
  metadataOnly?: boolean;
  /** What is kept of an object and told of it: JSON. A change that it does not show is no event. Must not depend on anything else. */
  project(object: O): T;
  identity: StreamIdentity;
  /** Begin with the objects as they were at this revision, if the cluster still knows: who asks for what came after it then misses nothing. */
  startAt?: number | undefined;
  /** For watches of our own: keeps trying whatever the cluster answers, also where it has never answered. */
  persistent?: boolean;
  /** Called once, with what ended it; null where that was `end(null)`. */
  onEnd?: (error: FleetError | null) => void;
  log: Logger;
  limits?: Partial<ReflectorLimits>;
}

/**
 * Objects of one cluster as they are now, listed once and then watched, for any number of subscribers. A lost watch goes on where it was;
 * where the cluster no longer knows (410), the objects are listed again and subscribers are told the difference. While the cluster cannot
 * be reached subscribers hear nothing but bookmarks. Where it was never reached, or has refused for long, it ends with that error.
 */
export class Reflector<T> {
  readonly #watched: WatchedState;
  readonly #limits: ReflectorLimits;
  readonly #identity: StreamIdentity;
  readonly #recall: Recall;
  readonly #subscriptions = new Set<PromptIterator<WatchedEvent<T>>>();
  readonly #stop = new AbortController();
  readonly #onEnd: (error: FleetError | null) => void;
  readonly #following: Following;
  #ended: { error: FleetError | null } | null = null;

  constructor(objects: WatchedObjects, options: Omit<ReflectorOptions<never, T>, "project" | "api" | "kind" | "filter">) {
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#identity = options.identity;
    this.#onEnd = options.onEnd ?? (() => undefined);
    this.#watched = new WatchedState({ maxChanges: this.#limits.maxChanges, maxBytes: this.#limits.maxChangeBytes });
    this.#recall = openRecall(objects, this.#limits);
    this.#following = followCluster({
      objects,
      watched: this.#watched,
      limits: this.#limits,
      startAt: options.startAt ?? null,
      persistent: options.persistent ?? false,
      onTimeWentBack: () => this.#endSubscriptions(cursorExpired("EpochChanged")),
      signal: this.#stop.signal,
      log: options.log,
    });
    void this.#following.ended.then((error) => this.end(error));
  }

  /** True once the objects have been listed. */
  get ready(): boolean {
    return this.#watched.ring !== null;
  }

  /** Why the cluster cannot be followed at present; null while it can, and before anything has failed. */
  get failure(): FleetError | null {
    return this.#ended?.error ?? this.#following.failure;
  }

  get size(): number {
    return this.#watched.objects.size;
  }

  get subscribers(): number {
    return this.#subscriptions.size;
  }

  /** What is kept of each object now, in no order. */
  *objects(): IterableIterator<T> {
    for (const json of this.#watched.objects.values()) yield JSON.parse(json) as T;
  }

  get(uid: string): T | null {
    const json = this.#watched.objects.get(uid);
    return json === undefined ? null : (JSON.parse(json) as T);
  }

  /** `listener` is called within the turn of each change, also when the objects were listed first; it must be cheap and not throw. Returns an undo. */
  onChange(listener: () => void): () => void {
    return this.#watched.onChange(listener);
  }

  /** Returns when the objects have been listed; throws what ended the reflector before, or the signal's reason. */
  async untilReady(signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#stop.signal]);
    while (!this.ready) {
      signal.throwIfAborted();
      if (this.#ended) throw this.#ended.error ?? closed();
      await this.#watched.changed(either, null);
    }
  }

  /** Errors come with the first `next()`; see Subscription. `onEnd` is called once, also where it ends at once. */
  subscribe(options: SubscribeOptions, onEnd: () => void = () => undefined): AsyncIterableIterator<WatchedEvent<T>> {
    const subscription = new PromptIterator<WatchedEvent<T>>(
      (signal) => new Subscription<T>(this.#watched, this.#identity, this.#recall, options, signal).events(),
      options.signal,
      (ended) => {
        this.#subscriptions.delete(ended);
        onEnd();
      },
    );
    if (this.#ended) subscription.end(this.#ended.error ?? closed());
    else if (this.#subscriptions.size >= this.#limits.maxSubscribers) subscription.end(tooManySubscribers());
    else if (!options.signal.aborted) this.#subscriptions.add(subscription);
    return subscription;
  }

  /** Ends the watch and all subscriptions: with an error each gets it, without one they are simply done. */
  end(error: FleetError | null): void {
    if (this.#ended) return;
    this.#ended = { error };
    this.#stop.abort();
    this.#endSubscriptions(error);
    this.#onEnd(error);
  }

  #endSubscriptions(error: FleetError | null): void {
    for (const subscription of [...this.#subscriptions]) subscription.end(error);
  }
}

/** Starts at once; `end()` it. */
export function openReflector<O extends KubernetesObject, T>(options: ReflectorOptions<O, T>): Reflector<T> {
  const { api, kind, filter, metadataOnly = false, project, ...rest } = options;
  const keep = (object: KubernetesObject) => JSON.stringify(project(object as O) ?? null);
  return new Reflector<T>({ api, kind, filter, metadataOnly, keep }, rest);
}

function closed(): FleetError {
  return new FleetError("UNAVAILABLE", "The watch is over: watch again from the last cursor.", { reason: "WatchEnded" });
}

function tooManySubscribers(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", "Too many watch these objects at the same time: try again later.", {
    reason: "TooManySubscribers",
  });
}
