import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { draining } from "../../events/watch.ts";
import type { WatchedEvent } from "../../graphql/watch-stream.ts";
import type { KubernetesApi, KubernetesObject, ObjectFilter, ResourceKind } from "../types.ts";
import { cursorAt, decodePosition, type StreamIdentity } from "./position.ts";
import { openReflector, type Reflector } from "./reflector.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { toRevision } from "./resource-version.ts";
import type { SubscribeOptions } from "./subscription.ts";

/** How an object is kept and told. The same name is the same `project`, in all replicas. */
export interface ObjectView<O extends KubernetesObject, T> {
  name: string;
  metadataOnly?: boolean;
  /** JSON only. */
  project(object: O): T;
}

export interface WatchTarget<O extends KubernetesObject, T> {
  clusterId: string;
  /** Another one where the cluster may be another: the revision of its access. Cursors of one expire in the other. */
  epoch: string;
  kind: ResourceKind;
  filter: ObjectFilter;
  view: ObjectView<O, T>;
}

export interface SharedReflectorsOptions {
  log: Logger;
  /** Different watches of one cluster at the same time. */
  maxPerCluster?: number;
  /** How long a watch without subscribers goes on, for those who come back. */
  lingerMs?: number;
  limits?: Partial<ReflectorLimits>;
}

interface Shared {
  clusterId: string;
  reflector: Reflector<unknown>;
  users: number;
  lingering: NodeJS.Timeout | undefined;
}

/** One watch for all who subscribe to the same objects of a cluster, for as long as there is somebody, and a little longer. */
export class SharedReflectors {
  readonly #options: Required<Omit<SharedReflectorsOptions, "limits">> & Pick<SharedReflectorsOptions, "limits">;
  readonly #shared = new Map<string, Shared>();
  #stopped = false;

  constructor(options: SharedReflectorsOptions) {
    this.#options = { maxPerCluster: 64, lingerMs: 10_000, ...options };
  }

  get size(): number {
    return this.#shared.size;
  }

  /**
   * @throws FleetError DRAINING, RESOURCE_EXHAUSTED (reason TooManyWatches), INVALID_ARGUMENT (field "after"), CURSOR_EXPIRED at once;
   * the others of Subscription come with the first `next()`.
   */
  subscribe<O extends KubernetesObject, T>(
    api: KubernetesApi,
    target: WatchTarget<O, T>,
    options: SubscribeOptions,
  ): AsyncIterableIterator<WatchedEvent<T>> {
    const identity = identityOf(target);
    const after = typeof options.after === "string" ? decodePosition(identity, options.after) : null;
    if (this.#stopped) throw draining();
    const startAt = after?.snapshotAfter === null && !after.difference ? after.revision : undefined;
    const shared = this.#shared.get(keyOf(identity)) ?? this.#open(api, target, identity, startAt);
    this.#enter(shared);
    return (shared.reflector as Reflector<T>).subscribe(options, () => this.#leave(shared));
  }

  /** Ends all watches of a cluster; their subscribers get the error. */
  drop(clusterId: string, error: FleetError): void {
    for (const { reflector, ...shared } of [...this.#shared.values()]) if (shared.clusterId === clusterId) reflector.end(error);
  }

  /** Ends everything with DRAINING. */
  stop(): void {
    this.#stopped = true;
    for (const { reflector } of [...this.#shared.values()]) reflector.end(draining());
  }

  #open<O extends KubernetesObject, T>(
    api: KubernetesApi,
    { clusterId, kind, filter, view }: WatchTarget<O, T>,
    identity: StreamIdentity,
    startAt: number | undefined,
  ): Shared {
    const { maxPerCluster, limits, log } = this.#options;
    const ofCluster = [...this.#shared.values()].filter((shared) => shared.clusterId === clusterId);
    if (ofCluster.length >= maxPerCluster) this.#makeRoom(ofCluster);
    const key = keyOf(identity);
    const reflector = openReflector<O, T>({
      api,
      kind,
      filter,
      identity,
      startAt,
      metadataOnly: view.metadataOnly ?? false,
      project: (object) => view.project(object),
      onEnd: () => this.#forget(key),
      log: log.child({ clusterId }),
      ...(limits ? { limits } : {}),
    });
    const shared: Shared = { clusterId, reflector: reflector as Reflector<unknown>, users: 0, lingering: undefined };
    this.#shared.set(key, shared);
    return shared;
  }

  /** Ends a watch that nobody uses at present, for one that somebody wants. */
  #makeRoom(ofCluster: Shared[]): void {
    const unused = ofCluster.find(({ users }) => users === 0);
    if (!unused) {
      throw new FleetError(
        "RESOURCE_EXHAUSTED",
        `This cluster is watched in ${this.#options.maxPerCluster} different ways already: end some subscriptions, or watch with the same filter.`,
        { reason: "TooManyWatches" },
      );
    }
    unused.reflector.end(null);
  }

  #enter(shared: Shared): void {
    clearTimeout(shared.lingering);
    shared.users += 1;
  }

  #leave(shared: Shared): void {
    shared.users -= 1;
    if (shared.users > 0) return;
    shared.lingering = setTimeout(() => shared.reflector.end(null), this.#options.lingerMs).unref();
  }

  #forget(key: string): void {
    clearTimeout(this.#shared.get(key)?.lingering);
    this.#shared.delete(key);
  }
}

/** The cursor behind which a subscription tells what changed after a list of this resourceVersion. */
export function watchCursor<O extends KubernetesObject, T>(target: WatchTarget<O, T>, resourceVersion: string): string {
  return cursorAt(identityOf(target), toRevision(resourceVersion));
}

function identityOf<O extends KubernetesObject, T>({ clusterId, epoch, kind, filter, view }: WatchTarget<O, T>): StreamIdentity {
  const { namespace, labelSelector, fieldSelector } = filter;
  const stream = [clusterId, kind.group, kind.version, kind.plural, namespace, labelSelector, fieldSelector, view.name];
  return { stream: JSON.stringify(stream), epoch };
}

function keyOf({ stream, epoch }: StreamIdentity): string {
  return JSON.stringify([stream, epoch]);
}
