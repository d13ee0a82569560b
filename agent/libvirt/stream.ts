import { FleetError } from "../../platform/errors/fleet-error.ts";
import { LibvirtError } from "./errors.ts";
import { type Frame, MESSAGE, STATUS } from "./protocol/frame.ts";
import type { Overflow } from "./protocol/procedure.ts";
import { remoteError } from "./protocol/structures.ts";
import { MalformedMessage, XdrReader } from "./protocol/xdr.ts";

/**
 * Bytes to and from the daemon beside a call: a console, a volume. Iterated once; leaving the iteration aborts the stream. Disposing of it
 * aborts it and waits until the daemon has let go of it: a console can be opened again then.
 */
export interface LibvirtStream extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** Resolves when the bytes are on their way, so that awaiting each write keeps to the pace of the other side. */
  write(data: Uint8Array): Promise<void>;
  /** Nothing more is written. Resolves when the daemon has taken everything and the stream is over; throws what the daemon says instead. */
  finish(): Promise<void>;
  /** Ends the stream at once. Iterating it ends without an error, writing to it is refused. */
  abort(): void;
}

/** What a stream needs of its connection. */
export interface StreamLink {
  send(status: number, data?: Uint8Array): Promise<void>;
  /** Bytes that were sent and that the socket did not take yet. */
  unsent(): number;
  pause(): void;
  resume(): void;
  close(reason: Error): void;
  /** Resolves when the connection is over. */
  readonly ended: Promise<unknown>;
}

/** As large as the daemon's own packets. */
const WRITE_BYTES = 256 * 1024;
/** Of one that writes without awaiting. */
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
const MAX_UNREAD_BYTES = 1024 * 1024;
/** What a packet costs besides its bytes, so that many empty ones are bounded as well. */
const PACKET_OVERHEAD_BYTES = 256;
/** How long the daemon may take to confirm that a stream is aborted; one whose other end takes nothing does not read that it is. */
const ABORT_MS = 1000;

/**
 * A stream on a connection of its own. libvirt's protocol has no credits: the only way to slow the daemon down is not to read the socket,
 * and the only way to learn that it is slow is a socket that takes no more. Both concern the whole connection.
 */
export class DaemonStream implements LibvirtStream {
  readonly #name: string;
  readonly #overflow: Overflow;
  readonly #finishTimeoutMs: number;
  readonly #link: StreamLink;
  readonly #packets: Buffer[] = [];
  #unread = 0;
  #paused = false;
  /** The daemon has no more data. */
  #endOfData = false;
  #over: { error: Error | null } | null = null;
  #finishing: PromiseWithResolvers<void> | null = null;
  #wake: (() => void) | null = null;
  #aborting: NodeJS.Timeout | undefined;

  constructor(name: string, overflow: Overflow, finishTimeoutMs: number, link: StreamLink) {
    this.#name = name;
    this.#overflow = overflow;
    this.#finishTimeoutMs = finishTimeoutMs;
    this.#link = link;
  }

  /** A packet of this stream. Throws MalformedMessage for one that no daemon sends. */
  receive(frame: Frame): void {
    if (this.#over !== null) {
      if (frame.status !== STATUS.CONTINUE) this.#link.close(this.#hasEnded());
    } else if (frame.status === STATUS.ERROR) {
      this.#settle(new LibvirtError(remoteError.read(new XdrReader(frame.body)), this.#name));
    } else if (frame.type !== MESSAGE.STREAM) {
      throw new MalformedMessage(`A message of the type ${frame.type} within the stream of ${this.#name}.`);
    } else if (frame.status === STATUS.OK) {
      if (this.#finishing === null) throw new MalformedMessage(`The end of ${this.#name} was confirmed before it was asked for.`);
      this.#settle(null);
    } else if (frame.body.length === 0) {
      this.#endOfData = true;
      this.#wake?.();
    } else {
      this.#keep(frame.body);
    }
  }

  /** The connection is over. */
  ended(reason: Error): void {
    clearTimeout(this.#aborting);
    this.#settle(reason);
  }

  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += WRITE_BYTES) {
      this.#throwIfOver();
      if (this.#finishing !== null) throw new FleetError("FAILED_PRECONDITION", `Nothing can be written to ${this.#name} after its end.`);
      if (this.#link.unsent() > MAX_UNSENT_BYTES) {
        throw new FleetError("RESOURCE_EXHAUSTED", `${this.#name} takes data more slowly than it is written. Await each write.`);
      }
      await this.#link.send(STATUS.CONTINUE, data.subarray(at, at + WRITE_BYTES)).catch((error: Error) => {
        this.#throwIfOver();
        throw error;
      });
    }
  }

  async finish(): Promise<void> {
    if (this.#finishing === null) {
      this.#throwIfOver();
      this.#finishing = Promise.withResolvers();
      // The promise may be all that is left of a stream that nobody reads.
      this.#finishing.promise.catch(() => undefined);
      // What is still to come is not wanted, but has to be read to get to the confirmation.
      this.#drop();
      const timer = setTimeout(() => this.#settle(this.#late()), this.#finishTimeoutMs);
      void this.#finishing.promise.finally(() => clearTimeout(timer)).catch(() => undefined);
      this.#link.send(STATUS.OK).catch((error: Error) => this.#settle(error));
    }
    await this.#finishing.promise;
  }

  abort(): void {
    if (this.#over !== null) return;
    this.#drop();
    this.#over = { error: null };
    this.#finishing?.reject(this.#hasEnded());
    this.#wake?.();
    const close = () => this.#link.close(this.#hasEnded());
    this.#aborting = setTimeout(close, ABORT_MS);
    this.#link.send(STATUS.ERROR).catch(close);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort();
    await this.#link.ended;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const packet = this.#packets.shift();
        if (packet !== undefined) {
          this.#account(-packet.length - PACKET_OVERHEAD_BYTES);
          yield packet;
        } else if (this.#over !== null) {
          if (this.#over.error !== null) throw this.#over.error;
          return;
        } else if (this.#endOfData) {
          // Only the confirmation says whether that was all of it.
          await this.finish();
          return;
        } else {
          const woken = Promise.withResolvers<void>();
          this.#wake = woken.resolve;
          await woken.promise;
        }
      }
    } finally {
      this.abort();
    }
  }

  #keep(packet: Buffer): void {
    if (this.#finishing !== null) return;
    this.#packets.push(packet);
    this.#account(packet.length + PACKET_OVERHEAD_BYTES);
    this.#wake?.();
  }

  #account(bytes: number): void {
    this.#unread += bytes;
    if (this.#unread <= MAX_UNREAD_BYTES / 2 && this.#paused) {
      this.#paused = false;
      this.#link.resume();
    } else if (this.#unread > MAX_UNREAD_BYTES && this.#overflow === "end") {
      this.#drop();
      this.#settle(new FleetError("SLOW_CONSUMER", `${this.#name} was read too slowly: over ${MAX_UNREAD_BYTES} bytes waited.`));
    } else if (this.#unread > MAX_UNREAD_BYTES && !this.#paused) {
      this.#paused = true;
      this.#link.pause();
    }
  }

  #drop(): void {
    this.#packets.length = 0;
    this.#account(-this.#unread);
  }

  /** The stream is over: what was received can still be read. */
  #settle(error: Error | null): void {
    if (this.#over !== null) return;
    this.#over = { error };
    if (error === null) this.#finishing?.resolve();
    else this.#finishing?.reject(error);
    this.#wake?.();
    this.#link.close(error ?? this.#hasEnded());
  }

  #throwIfOver(): void {
    if (this.#over === null) return;
    throw this.#over.error ?? this.#hasEnded();
  }

  #hasEnded(): FleetError {
    return new FleetError("FAILED_PRECONDITION", `The stream of ${this.#name} has ended.`);
  }

  #late(): FleetError {
    return new FleetError("DEADLINE_EXCEEDED", `libvirt did not confirm the end of ${this.#name} within ${this.#finishTimeoutMs} ms.`);
  }
}
