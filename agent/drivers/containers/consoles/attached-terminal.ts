import { once } from "node:events";
import type { Duplex } from "node:stream";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { InstanceTerminal, TerminalSize } from "../../console-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import { withoutHeaders } from "./attached-output.ts";

export interface AttachedTerminalOptions {
  /** What the container reads and writes. */
  stream: Duplex;
  run: string;
  tty: boolean;
  takesInput: boolean;
  setSize: (size: TerminalSize) => Promise<void>;
}

/** What a container's first process reads and writes, by the engine's connection. */
export class AttachedTerminal implements InstanceTerminal {
  readonly kind = "TTY";
  readonly mayWait = true;
  readonly migrated = false;
  readonly run: string;
  readonly resizable: boolean;
  readonly takesInput: boolean;
  readonly #stream: Duplex;
  readonly #setSize: (size: TerminalSize) => Promise<void>;

  constructor({ stream, run, tty, takesInput, setSize }: AttachedTerminalOptions) {
    this.run = run;
    this.resizable = tty;
    this.takesInput = takesInput;
    this.#stream = stream;
    this.#setSize = setSize;
    // What breaks off is told to whoever iterates or writes.
    stream.on("error", () => undefined);
  }

  get over(): boolean {
    return !this.#stream.writable || this.#stream.readableEnded;
  }

  async write(data: Uint8Array): Promise<void> {
    if (!this.takesInput) throw precondition("NoInput", "The container was made without an input.");
    const taken = Promise.withResolvers<void>();
    this.#stream.write(data, (error) => (error ? taken.reject(brokenOff(error)) : taken.resolve()));
    await taken.promise;
  }

  async resize(size: TerminalSize): Promise<void> {
    if (this.resizable) await this.#setSize(size);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* this.resizable ? (this.#stream as AsyncIterable<Buffer>) : withoutHeaders(this.#stream);
    } catch (error) {
      throw brokenOff(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#stream.closed) return;
    const closed = once(this.#stream, "close");
    this.#stream.destroy();
    await closed.catch(() => undefined);
  }
}

function brokenOff(cause: unknown): FleetError {
  return new FleetError("UNAVAILABLE", "The connection to the container broke off.", { reason: "EngineUnreachable", cause });
}
