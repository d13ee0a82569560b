import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { ConsoleInput, ConsoleOutput } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { until } from "./until.ts";

/** A client of AttachConsole: sends what it is told, reads until it ends. */
export class Attached {
  readonly outputs: ConsoleOutput[] = [];
  /** Null: the call ended without an error. */
  readonly ended: Promise<FleetError | null>;
  readonly #leave = new AbortController();
  #queue: Array<Partial<ConsoleInput> | null> = [];
  #wake: () => void = () => undefined;

  constructor(call: (inputs: AsyncIterable<Partial<ConsoleInput>>, signal: AbortSignal) => AsyncIterable<ConsoleOutput>) {
    this.ended = this.#read(call(this.#inputs(), this.#leave.signal)).then(() => null, FleetError.from);
  }

  send(input: Partial<ConsoleInput>): void {
    this.#queue.push(input);
    this.#wake();
  }

  /** Sends no more, and reads on. */
  close(): void {
    this.#queue.push(null);
    this.#wake();
  }

  leave(): void {
    this.#leave.abort();
  }

  get text(): string {
    return Buffer.concat(this.outputs.map(({ data }) => data)).toString();
  }

  async until(text: string): Promise<void> {
    let end: FleetError | null | undefined;
    void this.ended.then((reason) => {
      end = reason;
    });
    await until(() => this.text.includes(text) || end !== undefined, JSON.stringify(text));
    if (!this.text.includes(text)) throw new Error(`Ended with ${JSON.stringify(this.text)}.`, { cause: end });
  }

  async #read(outputs: AsyncIterable<ConsoleOutput>): Promise<void> {
    for await (const output of outputs) this.outputs.push(output);
  }

  async *#inputs(): AsyncGenerator<Partial<ConsoleInput>, void> {
    for (;;) {
      const input = this.#queue.shift();
      if (input === null) return;
      if (input) yield input;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
