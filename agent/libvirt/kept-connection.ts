import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { Backoff, pause } from "../control-plane/backoff.ts";
import type { LibvirtConnection } from "./connection.ts";
import { waitAtMost } from "./wait.ts";

export interface KeptConnectionOptions {
  connect(signal: AbortSignal): Promise<LibvirtConnection>;
  /** What belongs to a connection before anybody uses it. */
  prepare(connection: LibvirtConnection): Promise<void>;
  onLost(reason: Error): void;
  log: Logger;
}

const RECONNECT = { firstMs: 200, longestMs: 10_000 };
/** A connection that lived this long counts as a good one: the next loss begins with short pauses again. */
const GOOD_AFTER_MS = 10_000;

/** One connection that is opened again, with growing pauses, whenever it is lost or cannot be opened. */
export class KeptConnection {
  readonly #options: KeptConnectionOptions;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #closing = new AbortController();
  readonly #work: Promise<void>;
  #ready = Promise.withResolvers<LibvirtConnection>();
  #current: LibvirtConnection | null = null;
  #lastError: Error | undefined;

  constructor(options: KeptConnectionOptions) {
    this.#options = options;
    this.#ready.promise.catch(() => undefined);
    this.#work = this.#run(this.#closing.signal);
  }

  get current(): LibvirtConnection | null {
    return this.#current;
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Aborts when the connection is to be closed for good. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** `end` is the deadline, as performance.now() counts. */
  wait(end: number, signal: AbortSignal | undefined): Promise<LibvirtConnection> {
    return waitAtMost(this.#ready.promise, end - performance.now(), signal, () => this.unavailable(this.#lastError));
  }

  unavailable(cause: Error | undefined): FleetError {
    const why = cause?.message ?? "The daemon has not answered yet.";
    return new FleetError("UNAVAILABLE", `There is no connection to libvirt. ${why}`, { reason: "LibvirtUnreachable", cause });
  }

  onChange(listener: (connected: boolean) => void): () => void {
    const own = (connected: boolean) => listener(connected);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  async close(): Promise<void> {
    this.#closing.abort(closed());
    await this.#work;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RECONNECT);
    while (!signal.aborted) {
      const openedAt = await this.#once(signal).catch((error: unknown) => {
        this.#failed(error instanceof Error ? error : new Error(String(error)));
        return Number.POSITIVE_INFINITY;
      });
      if (performance.now() - openedAt > GOOD_AFTER_MS) backoff.reset();
      await pause(backoff.next(), signal);
    }
    this.#ready.reject(closed());
  }

  /** Resolves when the connection is over, with when it began. */
  async #once(signal: AbortSignal): Promise<number> {
    const connection = await this.#options.connect(signal);
    const onClose = () => void connection.close(closed());
    signal.addEventListener("abort", onClose, { once: true });
    if (signal.aborted) onClose();
    const openedAt = performance.now();
    await this.#options.prepare(connection);
    if ((await Promise.race([connection.ended, null])) === null) this.#opened(connection);
    const reason = await connection.ended;
    signal.removeEventListener("abort", onClose);
    this.#failed(reason);
    await connection.close();
    return openedAt;
  }

  #opened(connection: LibvirtConnection): void {
    this.#current = connection;
    this.#options.log.info("connected to libvirt");
    this.#ready.resolve(connection);
    this.#tell(true);
  }

  #failed(reason: Error): void {
    const { log } = this.#options;
    const wasConnected = this.#current !== null;
    const isNews = wasConnected || this.#lastError?.message !== reason.message;
    this.#lastError = reason;
    if (this.#closing.signal.aborted) log.debug("the connection to libvirt was closed");
    else if (isNews) log.warn({ why: reason.message }, "no connection to libvirt");
    if (wasConnected) {
      this.#current = null;
      this.#ready = Promise.withResolvers();
      this.#ready.promise.catch(() => undefined);
    }
    this.#options.onLost(reason);
    if (wasConnected) this.#tell(false);
  }

  #tell(connected: boolean): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(connected);
      } catch (error) {
        this.#options.log.error({ err: error }, "a listener to the connection with libvirt failed");
      }
    }
  }
}

export function closed(): FleetError {
  return new FleetError("UNAVAILABLE", "The connection to libvirt was closed.", { reason: "LibvirtClosed" });
}
