import { FleetError } from "../../platform/errors/fleet-error.ts";
import { pause } from "../control-plane/backoff.ts";
import type { LibvirtConnection } from "./connection.ts";
import type { KeepaliveLimits } from "./keepalive.ts";
import { CallNotSent, type CallOptions } from "./pending-call.ts";
import type { ProcedureArguments, ProcedureName, ProcedureResult, StreamProcedureName } from "./protocol/table.ts";
import type { DaemonStream } from "./stream.ts";
import { Turns } from "./turns.ts";

export interface OwnConnectionLimits {
  /** Long calls at once. libvirtd has up to 20 workers for what may block, for all of its clients together. */
  calls: number;
  /**
   * From one long call to the next. libvirtd 9 begins with 5 such workers and adds one when a call finds none free, but not when another
   * call is still waiting for one: after a burst of calls that block, it would never get more than the 5.
   */
  spacingMs: number;
  waiting: number;
  streams: number;
}

export const OWN_CONNECTION_LIMITS: OwnConnectionLimits = { calls: 8, spacingMs: 20, waiting: 1000, streams: 256 };

/** Opens a connection within so many milliseconds. */
export type Connect = (keepalive: KeepaliveLimits | null, timeoutMs: number, signal: AbortSignal) => Promise<LibvirtConnection>;

/**
 * Connections for one thing each. A stream needs one because its pace is that of the whole connection; a call that takes long, because a
 * daemon does only a few calls of one connection at a time, and reads nothing more of it while it does.
 */
export class OwnConnections {
  readonly #connect: Connect;
  readonly #calls = new Set<LibvirtConnection>();
  readonly #streams = new Set<LibvirtConnection>();
  readonly #kept = new Set<LibvirtConnection>();
  readonly #turns: Turns;
  readonly #maxStreams: number;
  readonly #spacingMs: number;
  #nextStart = 0;
  /** Those that are being opened, too. */
  #streamCount = 0;

  constructor(connect: Connect, limits: OwnConnectionLimits = OWN_CONNECTION_LIMITS) {
    this.#connect = connect;
    this.#turns = new Turns(limits.calls, limits.waiting, overloaded);
    this.#maxStreams = limits.streams;
    this.#spacingMs = limits.spacingMs;
  }

  /**
   * `end` is the deadline, as performance.now() counts. A call that is given up keeps its place and its connection until the daemon has
   * answered: a worker of the daemon is still at it.
   */
  async call<P extends ProcedureName>(
    procedure: P,
    args: ProcedureArguments<P>,
    keepalive: KeepaliveLimits,
    end: number,
    signal: AbortSignal,
  ): Promise<ProcedureResult<P>> {
    const giveBack = await this.#turns.take(end - performance.now(), signal);
    let connection: LibvirtConnection;
    try {
      connection = await this.#open(this.#calls, keepalive, end, signal);
      await this.#spaced(signal);
    } catch (error) {
      giveBack();
      throw error;
    }
    void connection.ended.then(giveBack);
    try {
      return await connection.call(procedure, args, remaining(end, signal));
    } finally {
      if (connection.busy) void connection.idle.then(() => connection.close());
      else await connection.close();
    }
  }

  /** The connection ends with the stream. */
  async openStream(procedure: StreamProcedureName, args: unknown, end: number, signal: AbortSignal): Promise<DaemonStream> {
    if (this.#streamCount >= this.#maxStreams) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many streams of libvirt are open.", { reason: "LibvirtOverloaded" });
    }
    this.#streamCount += 1;
    const connection = await this.#open(this.#streams, null, end, signal).catch((error: unknown) => {
      this.#streamCount -= 1;
      throw error;
    });
    void connection.ended.then(() => {
      this.#streamCount -= 1;
    });
    return await connection.openStream(procedure, args, remaining(end, signal));
  }

  /** For as long as its caller wants it. */
  async openKept(keepalive: KeepaliveLimits, end: number, signal: AbortSignal): Promise<LibvirtConnection> {
    if (this.#kept.size >= this.#maxStreams) throw overloaded();
    return await this.#open(this.#kept, keepalive, end, signal);
  }

  endStreams(reason: Error): void {
    for (const connection of this.#streams) void connection.close(reason);
  }

  async close(reason: Error): Promise<void> {
    await Promise.all([...this.#calls, ...this.#streams, ...this.#kept].map((connection) => connection.close(reason)));
  }

  async #spaced(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const start = Math.max(now, this.#nextStart);
    this.#nextStart = start + this.#spacingMs;
    if (start > now) await pause(start - now, signal);
  }

  async #open(
    connections: Set<LibvirtConnection>,
    keepalive: KeepaliveLimits | null,
    end: number,
    signal: AbortSignal,
  ): Promise<LibvirtConnection> {
    const connection = await this.#connect(keepalive, end - performance.now(), signal).catch((error: Error) => {
      throw signal.aborted ? error : new CallNotSent(error.message, { cause: error });
    });
    connections.add(connection);
    void connection.ended.then(() => connections.delete(connection));
    return connection;
  }
}

function remaining(end: number, signal: AbortSignal): CallOptions {
  return { signal, timeoutMs: end - performance.now() };
}

function overloaded(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", "Too many long calls of libvirt are under way; this one was not sent.", {
    reason: "LibvirtOverloaded",
  });
}
