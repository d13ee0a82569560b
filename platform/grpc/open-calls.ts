import type { FleetError } from "../errors/fleet-error.ts";
import type { ServerCall } from "./call-context.ts";

/** The calls that a server is working on. */
export class OpenCalls {
  /** True for streams. */
  readonly #calls = new Map<ServerCall, boolean>();
  #streams = 0;
  #onEmpty: Array<() => void> = [];

  get streams(): number {
    return this.#streams;
  }

  add(call: ServerCall, isStream: boolean): void {
    this.#calls.set(call, isStream);
    if (isStream) this.#streams += 1;
  }

  remove(call: ServerCall): void {
    if (this.#calls.get(call)) this.#streams -= 1;
    this.#calls.delete(call);
    if (this.#calls.size > 0) return;
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }

  abortStreams(error: FleetError): void {
    for (const [call, isStream] of this.#calls) if (isStream) call.abort(error);
  }

  abortAll(error: FleetError): void {
    for (const call of this.#calls.keys()) call.abort(error);
  }

  /** Resolves when no call is left. */
  empty(): Promise<void> {
    return this.#calls.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#onEmpty.push(resolve));
  }
}
