import type { InstanceTerminal, TerminalSize } from "../../agent/drivers/console-driver.ts";

/** A terminal that a test plays: what it puts out is taken one by one, so that a test sees when its reader waits. */
export class FakeTerminal implements InstanceTerminal {
  readonly kind: InstanceTerminal["kind"];
  readonly resizable = true;
  readonly takesInput: boolean;
  readonly mayWait: boolean;
  readonly run: string;
  migrated = false;
  disposed = false;
  /** What was typed. */
  readonly typed: string[] = [];
  readonly sizes: TerminalSize[] = [];
  /** Resolves writes; null: at once. */
  gate: Promise<void> | null = null;
  readonly #waiting: Uint8Array[] = [];
  #taken = 0;
  #over: { error: Error | null } | null = null;
  #wake: (() => void) | null = null;

  constructor({ kind = "TTY" as InstanceTerminal["kind"], run = "1", mayWait = true, takesInput = true } = {}) {
    this.kind = kind;
    this.run = run;
    this.mayWait = mayWait;
    this.takesInput = takesInput;
  }

  /** Bytes that were read and dealt with. */
  get taken(): number {
    return this.#taken;
  }

  get over(): boolean {
    return this.#over !== null;
  }

  put(data: string | Uint8Array): void {
    this.#waiting.push(typeof data === "string" ? Buffer.from(data) : data);
    this.#wake?.();
  }

  /** The carrier ends; with an error, it failed. */
  end(error: Error | null = null): void {
    this.#over = { error };
    this.#wake?.();
  }

  async write(data: Uint8Array): Promise<void> {
    await this.gate;
    this.typed.push(Buffer.from(data).toString());
  }

  async resize(size: TerminalSize): Promise<void> {
    this.sizes.push(size);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const data = this.#waiting.shift();
      if (data !== undefined) {
        yield data;
        this.#taken += data.length;
      } else if (this.#over !== null) {
        if (this.#over.error !== null) throw this.#over.error;
        return;
      } else {
        const woken = Promise.withResolvers<void>();
        this.#wake = woken.resolve;
        await woken.promise;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disposed = true;
    this.end();
  }
}
