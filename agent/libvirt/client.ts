import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { pause } from "../control-plane/backoff.ts";
import type { HostChannel } from "../host/host-channel.ts";
import type { LibvirtConnection } from "./connection.ts";
import { type EventListener, EventSubscriptions } from "./events.ts";
import { KEEPALIVE_LIMITS, type KeepaliveLimits } from "./keepalive.ts";
import { closed, KeptConnection } from "./kept-connection.ts";
import { openConnection } from "./open-connection.ts";
import { OwnConnections } from "./own-connections.ts";
import { CallNotSent, type CallOptions } from "./pending-call.ts";
import type { EventName } from "./protocol/event-table.ts";
import {
  type ProcedureArguments,
  type ProcedureName,
  type ProcedureResult,
  procedureNamed,
  type StreamProcedureName,
} from "./protocol/table.ts";
import type { LibvirtStream } from "./stream.ts";
import { type LibvirtTarget, parseLibvirtUri } from "./transport/libvirt-uri.ts";
import { waitAtMost } from "./wait.ts";

export interface LibvirtClientOptions {
  /** qemu:///system, qemu:///session, qemu+unix:///system?socket=…, test:///default, test:///file.xml; with `host` also qemu+ssh://… */
  uri: string;
  /** The daemon's socket, where it is not in its usual place. */
  socketPath?: string;
  /** The host on which the daemon's sockets are; this machine by default. It is the caller's to close. */
  host?: Pick<HostChannel, "connect">;
  log: Logger;
  /** For each call that does not say otherwise; 30 s by default. */
  callTimeoutMs?: number;
  /** Where the user's own daemon has its sockets: $XDG_RUNTIME_DIR/libvirt or ~/.cache/libvirt. */
  sessionDirectory?: string;
  /** When a silent daemon counts as gone; by default after 30 to 35 s. */
  keepalive?: KeepaliveLimits;
}

export type Unsubscribe = () => void;

const CALL_TIMEOUT_MS = 30_000;
const OPEN_TIMEOUT_MS = 15_000;
/** Until the next attempt of a call for which no connection of its own could be opened. */
const RETRY_MS = 100;

/**
 * A connection to libvirt's daemon that is opened again whenever it is lost. Calls that are made while there is none wait for it, up to
 * their deadline; those that were under way fail, because nobody knows whether they took effect. Events that happened in between are
 * not told: whoever follows them reads everything again on `onConnectionChange(true)`, when they are registered again already.
 */
export class LibvirtClient {
  readonly #options: LibvirtClientOptions;
  readonly #target: LibvirtTarget;
  readonly #keepalive: KeepaliveLimits;
  readonly #events: EventSubscriptions;
  readonly #own: OwnConnections;
  readonly #main: KeptConnection;

  private constructor(options: LibvirtClientOptions) {
    this.#options = options;
    this.#target = parseLibvirtUri(options.uri, options);
    if (this.#target.way.kind === "ssh" && options.host === undefined) throw notFromHere(options.uri);
    this.#keepalive = options.keepalive ?? KEEPALIVE_LIMITS;
    const log = options.log.child({ libvirt: options.uri });
    this.#events = new EventSubscriptions(log);
    this.#own = new OwnConnections((...how) => this.#connect(...how));
    this.#main = new KeptConnection({
      connect: (signal) => this.#connect(this.#keepalive, OPEN_TIMEOUT_MS, signal),
      prepare: (connection) => this.#events.attach(connection),
      onLost: (reason) => {
        this.#events.detach();
        this.#own.endStreams(reason);
      },
      log,
    });
  }

  /** Begins to connect; a daemon that cannot be reached is tried again and again. Throws INVALID_ARGUMENT for a URI that is not understood. */
  static open(options: LibvirtClientOptions): LibvirtClient {
    return new LibvirtClient(options);
  }

  /** Events that are listened to are registered then. */
  get connected(): boolean {
    return this.#main.current !== null;
  }

  /** Why there was no connection, the last time that there was none. */
  get lastError(): Error | undefined {
    return this.#main.lastError;
  }

  /**
   * Throws LibvirtError for what the daemon refuses; UNAVAILABLE without a connection until the deadline, and for one that was lost during
   * the call; DEADLINE_EXCEEDED, CANCELLED; INVALID_ARGUMENT for what libvirt cannot be told. A call that was given up may take effect.
   * What is called after `on` runs after the registration. Calls run side by side, in whatever order the daemon takes them; those that may
   * take long have a connection of their own, so that the others do not wait for them.
   */
  async call<P extends ProcedureName>(procedure: P, args: ProcedureArguments<P>, options: CallOptions = {}): Promise<ProcedureResult<P>> {
    const { signal } = options;
    const { long } = procedureNamed(procedure);
    return await this.#untilSent(options, async (connection, end) => {
      const registering = this.#events.settled;
      if (registering !== null) await waitAtMost(registering, end - performance.now(), signal, () => this.#unavailable());
      if (long) return await this.#own.call(procedure, args, this.#keepalive, end, this.#orClosing(signal));
      return await connection.call(procedure, args, { signal, timeoutMs: end - performance.now() });
    });
  }

  /** On a connection of its own, which ends with the stream; the stream ends with the client's connection. Options are for the opening. */
  async openStream<P extends StreamProcedureName>(
    procedure: P,
    args: ProcedureArguments<P>,
    options: CallOptions = {},
  ): Promise<LibvirtStream> {
    return await this.#untilSent(options, async (connection, end) => {
      const stream = await this.#own.openStream(procedure, args, end, this.#orClosing(options.signal));
      if (this.#main.current === connection) return stream;
      stream.abort();
      throw this.#unavailable();
    });
  }

  /**
   * A connection of the caller's own, for what the daemon ties to one; it is not opened again, and ends with the client. The caller closes it.
   */
  async openConnection(options: CallOptions = {}): Promise<LibvirtConnection> {
    return await this.#untilSent(options, (_connection, end) => this.#own.openKept(this.#keepalive, end, this.#orClosing(options.signal)));
  }

  /** Called in order, while there is a connection. A listener that throws is logged. */
  on<E extends EventName>(event: E, listener: EventListener<E>): Unsubscribe {
    return this.#events.add(event, listener);
  }

  /** Not called for the state that there is now. */
  onConnectionChange(listener: (connected: boolean) => void): Unsubscribe {
    return this.#main.onChange(listener);
  }

  /** Waits without an end. Throws CANCELLED when aborted, and UNAVAILABLE when the client is closed. */
  async whenConnected(signal?: AbortSignal): Promise<void> {
    await this.#main.wait(Number.POSITIVE_INFINITY, signal);
  }

  /** Ends calls and streams. Resolves when nothing is left. */
  async close(): Promise<void> {
    await this.#main.close();
    await this.#own.close(closed());
  }

  /** Tries again, until the deadline, as long as nothing was sent. */
  async #untilSent<T>(
    { signal, timeoutMs = this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS }: CallOptions,
    attempt: (connection: LibvirtConnection, end: number) => Promise<T>,
  ): Promise<T> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const connection = this.#main.current ?? (await this.#main.wait(end, signal));
      try {
        return await attempt(connection, end);
      } catch (error) {
        if (!(error instanceof CallNotSent)) throw error;
        if (performance.now() > end) throw this.#main.unavailable(error.cause instanceof Error ? error.cause : error);
        await Promise.race([connection.ended, pause(Math.min(RETRY_MS, end - performance.now()), this.#orClosing(signal))]);
      }
    }
  }

  #connect(keepalive: KeepaliveLimits | null, timeoutMs: number, signal: AbortSignal): Promise<LibvirtConnection> {
    return openConnection({
      target: this.#target,
      host: this.#options.host,
      callTimeoutMs: this.#options.callTimeoutMs ?? CALL_TIMEOUT_MS,
      keepalive,
      onEvent: (event) => this.#events.dispatch(event),
      timeoutMs: Math.max(1, Math.ceil(Math.min(timeoutMs, OPEN_TIMEOUT_MS))),
      signal,
    });
  }

  #orClosing(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#main.closing : AbortSignal.any([signal, this.#main.closing]);
  }

  #unavailable() {
    return this.#main.unavailable(this.lastError);
  }
}

function notFromHere(uri: string) {
  return invalidArgument(
    "uri",
    `${uri} is another host: add it to the graph with addNode, and an agent stands for it. An agent's own libvirt is on its machine.`,
  );
}
