import type { ExecutionResult } from "graphql";
import { FleetError } from "../../../platform/errors/fleet-error.ts";

/** A source of events, or the one result that refuses the subscription. */
export type Started = { events: AsyncIterator<unknown> } | { refusal: ExecutionResult };

export interface OperationStreamOptions {
  start(): Promise<Started>;
  /** Executes the operation for one event. */
  resolve(event: unknown): Promise<ExecutionResult>;
  /** The last frame of a stream that cannot go on. */
  toResult(error: FleetError): ExecutionResult;
  /** Called once, when the stream ends however it ends; frees what `start` took. */
  onEnd(reason: FleetError | null): void;
}

const DONE: IteratorResult<ExecutionResult> = { done: true, value: undefined };

/**
 * The results of one subscription. Pulls one event at a time, so that a reader that stops reading stops its source.
 * `end(error)` sends one last coded result; `return()` sends nothing more. Both free the source at once, also while it is quiet,
 * and a pending `next()` settles with them.
 */
export class OperationStream implements AsyncIterableIterator<ExecutionResult> {
  readonly #options: OperationStreamOptions;
  readonly #started: Promise<Started>;
  #events: AsyncIterator<unknown> | null = null;
  #lastFrame: ExecutionResult | null = null;
  #ended = false;
  #waiting: ((result: IteratorResult<ExecutionResult>) => void) | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: OperationStreamOptions) {
    this.#options = options;
    this.#started = options.start();
    // What goes wrong is told by next(); the handler here only keeps a stream that nobody reads from being an unhandled rejection.
    this.#started.then(
      (started) => this.#keep(started),
      (error: unknown) => this.end(FleetError.from(error)),
    );
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<ExecutionResult>> {
    const turn = this.#turn.then(() => this.#step());
    this.#turn = turn;
    return turn;
  }

  async return(): Promise<IteratorResult<ExecutionResult>> {
    this.#lastFrame = null;
    this.#finish(null);
    return DONE;
  }

  /** Ends the stream with a coded result; a second call changes nothing. */
  end(error: FleetError): void {
    if (this.#ended) return;
    this.#lastFrame = this.#options.toResult(error);
    this.#finish(error);
  }

  #step(): Promise<IteratorResult<ExecutionResult>> {
    if (this.#ended) return Promise.resolve(this.#takeLastFrame());
    return new Promise((resolve) => {
      this.#waiting = resolve;
      void this.#advance();
    });
  }

  async #advance(): Promise<void> {
    try {
      const started = await this.#started;
      if (this.#ended) return;
      if ("refusal" in started) {
        this.#lastFrame = started.refusal;
        this.#finish(null);
        return;
      }
      const { done, value } = await started.events.next();
      if (this.#ended) return;
      if (done === true) {
        this.#events = null;
        this.#finish(null);
        return;
      }
      const result = await this.#options.resolve(value);
      if (!this.#ended) this.#settle({ done: false, value: result });
    } catch (error) {
      this.end(FleetError.from(error));
    }
  }

  /** A source that comes after the end is freed like any other. */
  #keep(started: Started): void {
    if ("refusal" in started) return;
    this.#events = started.events;
    if (this.#ended) this.#freeSource();
  }

  #finish(reason: FleetError | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#freeSource();
    this.#options.onEnd(reason);
    if (this.#waiting) this.#settle(this.#takeLastFrame());
  }

  #freeSource(): void {
    const events = this.#events;
    this.#events = null;
    void (async () => events?.return?.())().catch(() => undefined);
  }

  #settle(result: IteratorResult<ExecutionResult>): void {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.(result);
  }

  #takeLastFrame(): IteratorResult<ExecutionResult> {
    const frame = this.#lastFrame;
    this.#lastFrame = null;
    return frame === null ? DONE : { done: false, value: frame };
  }
}
