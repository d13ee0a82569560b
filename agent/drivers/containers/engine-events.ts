import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import { Backoff, pause } from "../../control-plane/backoff.ts";
import type { ContainerEngine, EngineIdentity } from "./engine.ts";
import { EngineRefusal } from "./engine-errors.ts";
import type { EngineEvent } from "./engine-types.ts";
import { jsonLines } from "./json-lines.ts";

export interface EventsListener {
  /** The engine answers and its events are heard, or that has ended. Anything may have changed in between. */
  onConnected(identity: EngineIdentity): void;
  onLost(error: Error): void;
  onEvent(event: EngineEvent): void;
}

export interface EventsLimits {
  firstPauseMs: number;
  longestPauseMs: number;
}

export const EVENTS_LIMITS: EventsLimits = { firstPauseMs: 100, longestPauseMs: 5000 };

/** An engine that has refused the stream has done so by then. Docker and podman begin their answers at once; it has no end. */
const REFUSAL_MS = 2000;
/** Events are asked for from a little before now on, for the time that the engine takes to hear the request. */
const OVERLAP_NS = 2_000_000_000n;
/** What lies further back is told by the list that follows each connection. */
const REPLAY_NS = 600_000_000_000n;

/**
 * The engine's events of containers and of their networks, without end: connects, and connects again where the engine was away, from the last
 * event on. An event may come twice.
 */
export class EngineEvents {
  readonly #engine: ContainerEngine;
  readonly #listener: EventsListener;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  /** Aborts the stream that is read now. */
  #current = new AbortController();
  #connected = false;
  /** Of the newest event, in nanoseconds since the epoch. */
  #newest = 0n;

  constructor(engine: ContainerEngine, listener: EventsListener, log: Logger, limits: EventsLimits = EVENTS_LIMITS) {
    this.#engine = engine;
    this.#listener = listener;
    this.#log = log;
    this.#backoff = new Backoff({ firstMs: limits.firstPauseMs, longestMs: limits.longestPauseMs });
    this.#running = this.#run();
  }

  /** Gives up a stream that looks alive while the engine does not answer. */
  reconnect(reason: Error): void {
    this.#current.abort(reason);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#current.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#current = new AbortController();
      const error = await this.#follow(AbortSignal.any([signal, this.#current.signal])).then(
        () => brokenOff(undefined),
        (failure: unknown) => (failure instanceof FleetError || failure instanceof EngineRefusal ? failure : brokenOff(failure)),
      );
      this.#current.abort();
      if (signal.aborted) return;
      if (this.#connected) this.#log.warn({ err: error }, "the container engine is away");
      this.#connected = false;
      this.#listener.onLost(error);
      await pause(this.#backoff.next(), signal);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const filters = { type: ["container", "network"] };
    const opening = this.#engine.open("GET", "/events", { signal, query: { since: this.#since(), filters } });
    opening.catch(() => undefined);
    const identity = await this.#engine.hello({ signal });
    const refusable = new AbortController();
    await Promise.race([opening, pause(REFUSAL_MS, AbortSignal.any([signal, refusable.signal]))]).finally(() => refusable.abort());
    signal.throwIfAborted();
    this.#connected = true;
    this.#backoff.reset();
    this.#log.info({ server: identity.server }, "the container engine is there");
    this.#listener.onConnected(identity);
    for await (const event of jsonLines<EngineEvent>(await opening)) {
      const at = BigInt(Math.trunc(event.timeNano));
      if (at > this.#newest) this.#newest = at;
      this.#listener.onEvent(event);
    }
  }

  /** Seconds, with nanoseconds behind the point. */
  #since(): string {
    const now = BigInt(Date.now()) * 1_000_000n;
    const resumed = this.#newest > now - REPLAY_NS && this.#newest < now ? this.#newest : now;
    const since = resumed - OVERLAP_NS;
    return `${since / 1_000_000_000n}.${String(since % 1_000_000_000n).padStart(9, "0")}`;
  }
}

function brokenOff(cause: unknown): FleetError {
  return new FleetError("UNAVAILABLE", "The container engine's stream of events broke off.", { reason: "EngineUnreachable", cause });
}
