import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { KubernetesFailure, type WatchLine } from "../types.ts";
import { listState, type WatchedObjects, watchTooLarge } from "./object-list.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { toRevision } from "./resource-version.ts";
import { RetryDelay } from "./retry-delay.ts";
import type { WatchedState } from "./watched-state.ts";

/** Answers that another attempt will not change, unless the API server has just started. */
const REFUSALS: ReadonlySet<string | undefined> = new Set(["Forbidden", "NotFound", "Invalid"]);
/** A watch that is over sooner, and has told nothing, counts as failed. */
const SHORT_WATCH_MS = 1_000;
/** A watch that its client has not ended by then is ended here. */
const GRACE_MS = 30_000;

export interface FollowOptions {
  objects: WatchedObjects;
  watched: WatchedState;
  limits: ReflectorLimits;
  startAt: number | null;
  persistent: boolean;
  /** A list was older than what was known: the cluster's store was restored. */
  onTimeWentBack(): void;
  signal: AbortSignal;
  log: Logger;
}

export interface Following {
  readonly failure: FleetError | null;
  /** Resolves with what ended it; null for the signal. */
  readonly ended: Promise<FleetError | null>;
}

/** Keeps a watched state equal to the cluster's: lists, watches, and does so again. */
export function followCluster(options: FollowOptions): Following {
  const follower = new ClusterFollower(options);
  return {
    get failure() {
      return follower.failure;
    },
    ended: follower.run(),
  };
}

class ClusterFollower {
  failure: FleetError | null = null;
  readonly #options: FollowOptions;
  readonly #delay: RetryDelay;
  readonly #openedAt = performance.now();
  #startAt: number | null;
  #mustList = true;
  /** Since when every attempt was refused, in ms of `performance.now()`. */
  #refusedSince: number | null = null;

  constructor(options: FollowOptions) {
    this.#options = options;
    this.#startAt = options.startAt;
    this.#delay = new RetryDelay(options.limits);
  }

  async run(): Promise<FleetError | null> {
    const { signal, log } = this.#options;
    while (!signal.aborted) {
      try {
        if (this.#mustList) await this.#list();
        await this.#watch();
      } catch (error) {
        if (signal.aborted) break;
        const failure = FleetError.from(error);
        this.failure = failure;
        if (this.#isFinal(failure)) {
          log.warn({ err: error, kind: this.#options.objects.kind.plural }, "a watch of a cluster has ended");
          return failure;
        }
        log.debug({ err: error, kind: this.#options.objects.kind.plural }, "a watch of a cluster was lost; it is tried again");
        await this.#delay.pause(signal, retryAfterMs(failure));
      }
    }
    return null;
  }

  async #list(): Promise<void> {
    const { objects, watched, limits, signal } = this.#options;
    const startAt = this.#startAt;
    const listed = await listState(objects, limits, { revision: startAt, known: watched.objects, signal }).catch((error: unknown) => {
      // Kept too short a time, or never reached: from now on, then.
      if (startAt !== null && error instanceof KubernetesFailure && error.status !== null) return null;
      throw error;
    });
    this.#startAt = null;
    if (!listed) return this.#list();
    signal.throwIfAborted();
    const goesOn = watched.replace(listed.state, listed.revision);
    this.#mustList = false;
    this.#succeeded();
    if (!goesOn) this.#options.onTimeWentBack();
  }

  async #watch(): Promise<void> {
    const { objects, watched, limits, signal } = this.#options;
    const [shortest, longest] = limits.watchSeconds;
    const timeoutSeconds = Math.round(shortest + Math.random() * (longest - shortest));
    const startedAt = performance.now();
    const overdue = AbortSignal.timeout(timeoutSeconds * 1_000 + GRACE_MS);
    const lines = objects.api.watch(objects.kind, {
      ...objects.filter,
      resourceVersion: String(watched.ring?.head ?? 0),
      metadataOnly: objects.metadataOnly,
      signal: AbortSignal.any([signal, overdue]),
      timeoutSeconds,
      onOpen: () => this.#succeeded(),
    });
    let told = false;
    try {
      for await (const line of lines) {
        if (signal.aborted) return;
        this.#take(line);
        this.#delay.succeeded();
        told = true;
      }
    } catch (error) {
      if (error instanceof KubernetesFailure && error.isGone) this.#mustList = true;
      throw error;
    }
    if (!told && performance.now() - startedAt < SHORT_WATCH_MS) await this.#delay.pause(signal);
  }

  #take({ type, object }: WatchLine<{ metadata: { uid: string; resourceVersion: string } }>): void {
    const { objects, watched, limits } = this.#options;
    const revision = toRevision(object.metadata.resourceVersion);
    const head = watched.ring?.head ?? 0;
    if (type === "BOOKMARK") {
      if (revision > head) watched.advance(revision);
      return;
    }
    if (revision <= head) {
      this.#mustList = true;
      throw new FleetError("UNAVAILABLE", "The cluster's API told changes out of their order.", { reason: "OutOfOrder" });
    }
    watched.take(object.metadata.uid, type === "DELETED" ? null : objects.keep(object as never), revision);
    if (watched.bytes > limits.maxStateBytes) throw watchTooLarge(objects.kind);
  }

  #succeeded(): void {
    this.failure = null;
    this.#refusedSince = null;
  }

  #isFinal(failure: FleetError): boolean {
    const { persistent, watched, limits } = this.#options;
    if (failure.code === "INTERNAL" || failure.reason === "WatchTooLarge") return true;
    if (persistent) return false;
    const now = performance.now();
    const refused = REFUSALS.has(failure.reason);
    if (!watched.ring) return refused || now - this.#openedAt >= limits.openMs;
    if (!refused) {
      this.#refusedSince = null;
      return false;
    }
    this.#refusedSince ??= now;
    return now - this.#refusedSince >= limits.refusedMs;
  }
}

function retryAfterMs({ details }: FleetError): number {
  const seconds = details["retryAfterSeconds"];
  return typeof seconds === "number" ? seconds * 1_000 : 0;
}
