import type { Duplex } from "node:stream";
import { WebSocket } from "ws";

/** How much more than "full" one answer may make it; beyond that the client is too slow for what it asks for. */
const HARD_LIMIT_FACTOR = 64;

/** The way out to one client. It never holds more than the socket's buffer: whoever has more to send waits for `onWritable`. */
export class SocketOutput {
  readonly #socket: WebSocket;
  readonly #softLimit: number;
  #full = false;

  /** `stream` is what the WebSocket was made from: it tells when it has room again. */
  constructor(socket: WebSocket, stream: Duplex, softLimit: number, onWritable: () => void) {
    this.#socket = socket;
    // Below its own mark the stream does not tell when it has room again.
    this.#softLimit = Math.max(softLimit, stream.writableHighWaterMark);
    stream.on("drain", () => {
      if (!this.#full) return;
      this.#full = false;
      onWritable();
    });
  }

  get writable(): boolean {
    if (this.#socket.bufferedAmount < this.#softLimit) return true;
    this.#full = true;
    return false;
  }

  /** True where even a single answer has to be refused. */
  get overflowing(): boolean {
    return this.#socket.bufferedAmount > this.#softLimit * HARD_LIMIT_FACTOR;
  }

  send(frame: string): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(frame);
  }
}
