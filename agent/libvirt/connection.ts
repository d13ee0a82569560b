import { FleetError } from "../../platform/errors/fleet-error.ts";
import { CallSlots, type WaitingCall } from "./call-slots.ts";
import { Keepalive, type KeepaliveLimits } from "./keepalive.ts";
import { CallNotSent, type CallOptions, PendingCall } from "./pending-call.ts";
import { encodeFrame, type Frame, FrameParser, MESSAGE, STATUS } from "./protocol/frame.ts";
import type { Procedure } from "./protocol/procedure.ts";
import {
  type ProcedureArguments,
  type ProcedureName,
  type ProcedureResult,
  procedureNamed,
  type StreamProcedureName,
} from "./protocol/table.ts";
import { MalformedMessage, UnencodableValue } from "./protocol/xdr.ts";
import { DaemonStream } from "./stream.ts";
import type { Transport } from "./transport/transport.ts";

export interface ConnectionOptions {
  /** For calls that do not say otherwise. */
  callTimeoutMs: number;
  /** Something that the daemon tells by itself; called in order. */
  onEvent?: (event: Frame) => void;
}

const PING = 1;
const PONG = 2;
const MAX_UNREAD_BYTES = 64 * 1024;

/**
 * One connection to a daemon: calls with their replies, events, and at most one stream, which then has the connection for itself. Whatever
 * comes that is not libvirt's protocol ends it; nothing here throws into the event loop.
 */
export class LibvirtConnection {
  /** Resolves, once, with why the connection is over. Never rejects. */
  readonly ended: Promise<Error>;
  readonly #transport: Transport;
  readonly #options: ConnectionOptions;
  readonly #parser = new FrameParser((frame) => this.#receive(frame));
  readonly #slots = new CallSlots();
  /** Made and not answered, the ones that wait and the ones that their callers have given up included. */
  readonly #calls = new Set<PendingCall>();
  readonly #sent = new Map<number, PendingCall>();
  readonly #end = Promise.withResolvers<Error>();
  #endReason: Error | null = null;
  #stream: { stream: DaemonStream; call: PendingCall } | null = null;
  #keepalive: Keepalive | null = null;
  #idle: PromiseWithResolvers<void> | null = null;
  #lastSerial = 0;

  constructor(transport: Transport, options: ConnectionOptions) {
    this.#transport = transport;
    this.#options = options;
    this.ended = this.#end.promise;
    transport.input.on("data", (chunk: Buffer) => this.#take(chunk));
    void transport.ended.then((reason) => this.#finish(reason));
  }

  /** Throws LibvirtError for what the daemon refuses, CallNotSent, and FleetError as the client's `call` does. */
  async call<P extends ProcedureName>(name: P, args: ProcedureArguments<P>, options: CallOptions = {}): Promise<ProcedureResult<P>> {
    return (await this.#call(name, procedureNamed(name), args, options).answer) as ProcedureResult<P>;
  }

  /** Calls that the daemon has not answered, those that were given up included. */
  get busy(): boolean {
    return this.#calls.size > 0;
  }

  /** Resolves when the daemon has answered everything that it was asked until then, or the connection is over. */
  get idle(): Promise<void> {
    if (!this.busy) return Promise.resolve();
    this.#idle ??= Promise.withResolvers();
    return this.#idle.promise;
  }

  /** From here on the connection is the stream's. */
  async openStream(name: StreamProcedureName, args: unknown, options: CallOptions = {}): Promise<DaemonStream> {
    const procedure = procedureNamed(name);
    const call = this.#call(name, procedure, args, options);
    // Data may come with the answer, and even before it.
    const stream = new DaemonStream(name, procedure.stream ?? "end", this.#options.callTimeoutMs, {
      send: (status, data) => this.#sendStream(procedure, call.serial ?? 0, status, data),
      unsent: () => this.#transport.output.writableLength,
      pause: () => this.#transport.input.pause(),
      resume: () => this.#transport.input.resume(),
      close: (reason) => this.#finish(reason),
      ended: this.ended,
    });
    this.#stream = { stream, call };
    try {
      await call.answer;
    } catch (error) {
      this.#finish(error as Error);
      throw error;
    }
    return stream;
  }

  /** Begins to ping. The daemon answers pings always, and sends its own once it was asked for the feature. */
  keepAlive(limits: KeepaliveLimits): void {
    const ping = () =>
      this.#write(encodeFrame({ program: "keepalive", procedure: PING, type: MESSAGE.EVENT, serial: 0, status: STATUS.OK }));
    const onDead = () => {
      const seconds = (limits.intervalMs * (limits.unanswered + 1)) / 1000;
      this.#finish(new FleetError("UNAVAILABLE", `libvirt's daemon has not answered for ${seconds} s.`));
    };
    this.#keepalive = new Keepalive(limits, ping, onDead);
  }

  async close(reason: Error = new FleetError("CANCELLED", "The connection to libvirt was closed.")): Promise<void> {
    this.#finish(reason);
    await this.#transport.close();
  }

  #call(name: string, procedure: Procedure<unknown, unknown>, args: unknown, options: CallOptions): PendingCall {
    const timeoutMs = options.timeoutMs ?? this.#options.callTimeoutMs;
    const call = new PendingCall(name, procedure, { ...options, timeoutMs }, () => {
      // One that was sent keeps its place until the daemon has answered: it counts there too.
      if (this.#slots.remove(waiting)) this.#calls.delete(call);
    });
    const waiting: WaitingCall = { priority: procedure.priority, bytes: 0, send: () => undefined };
    try {
      options.signal?.throwIfAborted();
      if (this.#endReason !== null) throw new CallNotSent(this.#endReason.message, { cause: this.#endReason });
      const message = encodeCall(name, procedure, args);
      Object.assign(waiting, { bytes: message.length, send: () => this.#send(call, message) });
      this.#calls.add(call);
      this.#slots.add(waiting);
    } catch (error) {
      this.#calls.delete(call);
      call.fail(error instanceof CallNotSent ? error : FleetError.from(error));
    }
    return call;
  }

  #send(call: PendingCall, message: Buffer): void {
    const serial = this.#nextSerial();
    message.writeUInt32BE(serial, SERIAL_AT);
    call.serial = serial;
    this.#sent.set(serial, call);
    this.#write(message);
  }

  #nextSerial(): number {
    do this.#lastSerial = (this.#lastSerial + 1) >>> 0;
    while (this.#lastSerial === 0 || this.#sent.has(this.#lastSerial));
    return this.#lastSerial;
  }

  #write(message: Buffer, done?: (error?: Error | null) => void): void {
    if (this.#endReason === null) this.#transport.output.write(message, done);
    else done?.(this.#endReason);
  }

  #sendStream({ program, number }: Procedure<unknown, unknown>, serial: number, status: number, data?: Uint8Array): Promise<void> {
    const header = { program, procedure: number, type: MESSAGE.STREAM, serial, status };
    const message = encodeFrame(header, (writer) => data && writer.raw(data));
    return new Promise((resolve, reject) => this.#write(message, (error) => (error ? reject(this.#endReason ?? cut(error)) : resolve())));
  }

  #take(chunk: Buffer): void {
    if (this.#endReason !== null) return;
    this.#keepalive?.heard();
    try {
      this.#parser.push(chunk);
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      const message = `What came from libvirt's socket is not libvirt's protocol: ${cause.message}`;
      this.#finish(new FleetError("UNAVAILABLE", message, { reason: "LibvirtProtocol", cause }));
    }
  }

  #receive(frame: Frame): void {
    // A chunk may hold more after the message that ended the connection.
    if (this.#endReason !== null) return;
    if (frame.program === "keepalive") {
      // One that asks and asks and does not read the answers gets no more of them.
      const reads = this.#transport.output.writableLength < MAX_UNREAD_BYTES;
      if (frame.procedure === PING && reads) this.#write(encodeFrame({ ...frame, procedure: PONG }));
    } else if (frame.type === MESSAGE.EVENT) {
      this.#options.onEvent?.(frame);
    } else if (frame.type === MESSAGE.REPLY && this.#sent.has(frame.serial)) {
      this.#receiveReply(frame);
    } else if (this.#stream?.call.serial === frame.serial) {
      this.#stream.stream.receive(frame);
    } else {
      throw new MalformedMessage(`A message of the type ${frame.type} for the call ${frame.serial}, which is not under way.`);
    }
  }

  #receiveReply(frame: Frame): void {
    const call = this.#sent.get(frame.serial);
    if (call === undefined) return;
    const { program, number, priority } = call.procedure;
    if (frame.program !== program || frame.procedure !== number) {
      throw new MalformedMessage(`The call ${frame.serial} of ${call.name} was answered as another one.`);
    }
    call.answered(frame);
    this.#sent.delete(frame.serial);
    this.#calls.delete(call);
    this.#slots.release(priority);
    if (!this.busy) this.#settleIdle();
  }

  #settleIdle(): void {
    this.#idle?.resolve();
    this.#idle = null;
  }

  #finish(reason: Error): void {
    if (this.#endReason !== null) return;
    this.#endReason = reason;
    this.#keepalive?.stop();
    for (const call of this.#calls) call.lost(reason);
    this.#calls.clear();
    this.#sent.clear();
    this.#settleIdle();
    this.#stream?.stream.ended(reason);
    this.#end.resolve(reason);
    void this.#transport.close();
  }
}

/** Of the serial in a message. */
const SERIAL_AT = 20;

function encodeCall(name: string, procedure: Procedure<unknown, unknown>, args: unknown): Buffer {
  try {
    const header = { program: procedure.program, procedure: procedure.number, type: MESSAGE.CALL, serial: 0, status: STATUS.OK };
    return encodeFrame(header, (writer) => procedure.args.write(writer, args));
  } catch (error) {
    if (!(error instanceof UnencodableValue)) throw error;
    throw new FleetError("INVALID_ARGUMENT", `${name} cannot be called like this: ${error.message}`, { cause: error });
  }
}

/** A write that failed before the end of the connection was told. */
function cut(cause: Error): FleetError {
  const { code = cause.message } = cause as NodeJS.ErrnoException;
  return new FleetError("UNAVAILABLE", `The connection to libvirt was lost (${code}).`, { reason: "LibvirtConnectionLost", cause });
}
