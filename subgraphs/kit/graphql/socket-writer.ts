import type { WebSocket } from "ws";
import { ERROR_TABLE } from "../../../platform/errors/codes.ts";

export interface WriterLimits {
  bufferedBytes: number;
  slowConsumerMs: number;
}

/** A closed socket whose reader does not even take the close frame is cut after this. */
const CUT_MS = 2000;

/**
 * Writes to a socket at its reader's pace: above `bufferedBytes` a send waits until what is unsent has drained, so that the stream behind it
 * is not pulled any further. A reader that has not drained within `slowConsumerMs` is closed with SLOW_CONSUMER.
 */
export class SocketWriter {
  readonly #socket: WebSocket;
  readonly #limits: WriterLimits;
  readonly #closed = Promise.withResolvers<void>();
  #drained: PromiseWithResolvers<void> | null = null;
  #slow: NodeJS.Timeout | undefined;

  constructor(socket: WebSocket, limits: WriterLimits) {
    this.#socket = socket;
    this.#limits = limits;
  }

  /** Resolves when more may be written; where the socket is closing, once it is closed: nothing is pulled for it any more. */
  send(data: string): Promise<void> | void {
    if (this.#socket.readyState !== this.#socket.OPEN) return this.#closed.promise;
    this.#socket.send(data, () => this.#look());
    if (this.#socket.bufferedAmount <= this.#limits.bufferedBytes) return this.#drained?.promise;
    this.#drained ??= this.#startWaiting();
    return this.#drained.promise;
  }

  /** To be called when the socket has closed. */
  close(): void {
    this.#stopWaiting();
    this.#closed.resolve();
  }

  #startWaiting(): PromiseWithResolvers<void> {
    this.#slow = setTimeout(() => {
      this.#socket.close(ERROR_TABLE.SLOW_CONSUMER.wsClose, "SLOW_CONSUMER");
      this.#slow = setTimeout(() => this.#socket.terminate(), CUT_MS);
    }, this.#limits.slowConsumerMs);
    return Promise.withResolvers<void>();
  }

  #look(): void {
    if (this.#socket.readyState === this.#socket.OPEN && this.#socket.bufferedAmount <= this.#limits.bufferedBytes / 2) this.#stopWaiting();
  }

  #stopWaiting(): void {
    clearTimeout(this.#slow);
    this.#drained?.resolve();
    this.#drained = null;
  }
}
