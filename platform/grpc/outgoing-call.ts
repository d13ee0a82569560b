import type { CallOptions, Metadata } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import type { RequestContext } from "../request-context.ts";
import { deadlineExceeded } from "./call-context.ts";
import { fromClientError } from "./error-status.ts";

interface Signals {
  signal?: AbortSignal;
  context?: Pick<RequestContext, "signal">;
}

/** gRPC allows eight digits. */
const MAX_TIMEOUT_MS = 99_999_999;

/** One call to another process: its deadline, who may cancel it, and the trailers that say what it failed with. */
export class OutgoingCall {
  readonly #controller = new AbortController();
  readonly #sources: AbortSignal[];
  readonly #metadata: Metadata;
  readonly #callerOptions: CallOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#controller.abort(new FleetError("CANCELLED", "The request was cancelled."));
  #trailer: Metadata | undefined;

  constructor(options: CallOptions & Signals, metadata: Metadata, deadlineMs: number | null) {
    this.#callerOptions = options;
    this.#metadata = metadata;
    this.#sources = [options.signal, options.context?.signal].filter((signal) => signal !== undefined);
    for (const source of this.#sources) {
      if (source.aborted) this.#onAbort();
      else source.addEventListener("abort", this.#onAbort, { once: true });
    }
    if (deadlineMs !== null) {
      const timeoutMs = Math.min(MAX_TIMEOUT_MS, Math.max(0, Math.ceil(deadlineMs)));
      // The server stops working on it at the same time.
      metadata.set("grpc-timeout", `${timeoutMs}m`);
      this.#timer = setTimeout(() => this.#controller.abort(deadlineExceeded()), timeoutMs);
    }
  }

  /** What nice-grpc's method takes. */
  options(): CallOptions {
    return {
      metadata: this.#metadata,
      signal: this.#controller.signal,
      onHeader: this.#callerOptions.onHeader,
      onTrailer: (trailer) => {
        this.#trailer = trailer;
        this.#callerOptions.onTrailer?.(trailer);
      },
    };
  }

  /** Makes a call with one answer. Throws FleetError. */
  async run<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
    try {
      this.#controller.signal.throwIfAborted();
      return await call(this.options());
    } catch (error) {
      throw this.failure(error);
    } finally {
      this.dispose();
    }
  }

  /** Why the call failed: what ended it on this side, else what the server said. */
  failure(error: unknown): FleetError {
    const { signal } = this.#controller;
    return signal.aborted ? FleetError.from(signal.reason) : fromClientError(error, this.#trailer);
  }

  cancel(): void {
    this.#onAbort();
  }

  /** Releases the timer and the signals. */
  dispose(): void {
    clearTimeout(this.#timer);
    for (const source of this.#sources) source.removeEventListener("abort", this.#onAbort);
  }
}
