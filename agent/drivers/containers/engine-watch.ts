import type { DriverListener } from "../instance-driver.ts";
import { isHalfStarted } from "./container-facts.ts";
import { isProbe, readMark } from "./container-mark.ts";
import { endHalfStarted } from "./container-runs.ts";
import type { EngineIdentity } from "./engine.ts";
import { EngineEvents, EVENTS_LIMITS, type EventsLimits } from "./engine-events.ts";
import type { EngineHost } from "./engine-host.ts";
import type { EngineEvent, ListedContainer } from "./engine-types.ts";

export interface WatchLimits extends EventsLimits {
  /** Between looks at what events should have told. */
  sweepMs: number;
}

export const WATCH_LIMITS: WatchLimits = { ...EVENTS_LIMITS, sweepMs: 30_000 };

const SWEEP_TIMEOUT_MS = 15_000;
/** What happens inside a container, or to its copies, changes nothing of it. */
const IRRELEVANT = /^(exec_|health_status|attach|detach|resize|top|export|commit|copy|archive-path|extract-to-dir|mount|unmount|sync|logs)/;

/**
 * Knows when containers change: by the engine's events, and by a look at the list now and then, which finds what an event was lost of (a clock
 * that was set back, a log that was rotated) and whether the engine is still there.
 */
export class EngineWatch {
  readonly #host: EngineHost;
  readonly #events: EngineEvents;
  readonly #listeners = new Set<DriverListener>();
  readonly #closing = new AbortController();
  readonly #attempted = Promise.withResolvers<void>();
  readonly #sweepMs: number;
  /** Starts under way; what they look like meanwhile means nothing. */
  readonly #starting = new Set<string>();
  /** By id, as the last sweep saw them; null before the first of a connection. */
  #seen: ReadonlyMap<string, string> | null = null;
  #sweeping: NodeJS.Timeout | null = null;
  #connected = false;
  #lastError: Error | null = null;

  constructor(host: EngineHost, limits: WatchLimits = WATCH_LIMITS) {
    this.#host = host;
    this.#sweepMs = limits.sweepMs;
    const listener = {
      onConnected: (identity: EngineIdentity) => this.#onConnected(identity),
      onLost: (error: Error) => this.#onLost(error),
      onEvent: (event: EngineEvent) => this.#onEvent(event),
    };
    this.#events = new EngineEvents(host.engine, listener, host.log, limits);
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Why it is not connected; null before the first attempt has ended. */
  get lastError(): Error | null {
    return this.#lastError;
  }

  /** Resolves when the first attempt to connect has ended. */
  get attempted(): Promise<void> {
    return this.#attempted.promise;
  }

  listen(listener: DriverListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async duringStart<T>(id: string, work: () => Promise<T>): Promise<T> {
    this.#starting.add(id);
    try {
      return await work();
    } finally {
      this.#starting.delete(id);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    if (this.#sweeping !== null) clearTimeout(this.#sweeping);
    this.#listeners.clear();
    await this.#events.close();
  }

  #onConnected(identity: EngineIdentity): void {
    this.#connected = true;
    this.#lastError = null;
    this.#host.met(identity);
    this.#host.inspections.trust(true);
    this.#seen = null;
    this.#sweepLater();
    this.#attempted.resolve();
    for (const listener of this.#listeners) listener.onAvailable(true);
  }

  #onLost(error: Error): void {
    const wasConnected = this.#connected;
    this.#connected = false;
    this.#lastError = error;
    this.#host.inspections.trust(false);
    if (this.#sweeping !== null) clearTimeout(this.#sweeping);
    this.#attempted.resolve();
    if (wasConnected) for (const listener of this.#listeners) listener.onAvailable(false);
  }

  #onEvent(event: EngineEvent): void {
    const { Type, Action, Actor } = event;
    if (IRRELEVANT.test(Action) || isProbe(Actor.Attributes)) return;
    const id = Type === "container" ? Actor.ID : (Actor.Attributes?.["container"] ?? "");
    if (id === "") return;
    if (Type === "container") this.#host.runs.onEvent(event);
    this.#tellChanged(id);
    if (Type === "container" && (Action === "destroy" || Action === "remove")) this.#forget(id);
  }

  #forget(id: string): void {
    this.#host.runs.forget(id);
    this.#host.notes.delete(id).catch((error: unknown) => this.#host.log.warn({ err: error }, "a container's note was not removed"));
  }

  #tellChanged(id: string): void {
    this.#host.inspections.changed(id);
    for (const listener of this.#listeners) listener.onChanged(id);
  }

  #sweepLater(): void {
    if (this.#closing.signal.aborted) return;
    if (this.#sweeping !== null) clearTimeout(this.#sweeping);
    this.#sweeping = setTimeout(() => void this.#sweep(), this.#sweepMs);
  }

  async #sweep(): Promise<void> {
    const { signal } = this.#closing;
    try {
      const listed = (await this.#host.listed(signal, SWEEP_TIMEOUT_MS)).filter(({ Labels }) => !isProbe(Labels));
      const seen = new Map(listed.map((container) => [container.Id, `${container.State} ${container.Pid ?? ""}`]));
      const before = this.#seen;
      this.#seen = seen;
      // The first one has nothing to compare with; the listener lists by itself then.
      if (before === null) return this.#sweepLater();
      for (const container of listed) {
        if (before.get(container.Id) !== seen.get(container.Id)) this.#tellChanged(container.Id);
        else await this.#endInterruptedStart(container, signal);
      }
      for (const id of before.keys()) if (!seen.has(id)) this.#tellChanged(id);
    } catch (error) {
      if (signal.aborted) return;
      this.#events.reconnect(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#sweepLater();
  }

  /** An engine that was killed in the middle of a start takes what may run for what does not. Two sweeps long, nobody is about to start it. */
  async #endInterruptedStart({ Id, Names, State, Labels, Pid }: ListedContainer, signal: AbortSignal): Promise<void> {
    const facts = { id: Id, name: (Names[0] ?? "").replace(/^\//, ""), mark: readMark(Labels), status: State, pid: Pid ?? 0 };
    if (!isHalfStarted(facts) || this.#starting.has(Id) || this.#host.markOf(facts) === null) return;
    this.#host.log.warn({ container: facts.name }, "a start that was interrupted is ended");
    await endHalfStarted(this.#host, facts, signal);
    this.#tellChanged(Id);
  }
}
