import type { ExecutionResult } from "graphql";
import type { Identity } from "../../platform/auth/identity.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { pause } from "../transport/deadline.ts";
import { CONNECTION_LOST, unavailable } from "../transport/faults.ts";
import { StreamEnd } from "./stream-end.ts";
import type { StartPosition } from "./subscription-operation.ts";

/** What one event of a subgraph says about the position in its stream. */
export interface UpstreamEvent {
  readonly result: ExecutionResult;
  /** Null where the field has none, or the event was lost to an error. */
  readonly cursor: string | null;
  /** A bare position. */
  readonly bookmark: boolean;
}

/** With whose credentials an upstream is opened. */
export interface Credentials {
  readonly token: string | null;
  /** Milliseconds since the epoch; infinite without an expiry. */
  readonly expiresAt: number;
  readonly requestId: string;
  readonly identity: Identity | null;
}

export interface UpstreamOptions {
  readonly subgraph: string;
  readonly resumable: boolean;
  readonly start: StartPosition;
  open(position: StartPosition, credentials: Credentials): AsyncIterableIterator<ExecutionResult>;
  /** The freshest credentials of those who share the upstream; null where nobody is left. */
  credentials(): Credentials | null;
  readEvent(result: ExecutionResult): UpstreamEvent;
  onResume(): void;
  /** How long a subgraph that cannot be reached at first is tried again: it may be in the middle of a restart. */
  readonly openMs: number;
  /** How long a lost upstream is tried again. */
  readonly resumeMs: number;
  readonly log: Logger;
}

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;

/** Ends after which the same subscription may be had again, from where it was. */
const TRANSIENT: ReadonlySet<string> = new Set(["UNAVAILABLE", "DRAINING", "SLOW_CONSUMER", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"]);

/**
 * A subscription to a subgraph that survives the loss of its connection where the field can be resumed and a position is known:
 * it is subscribed again behind the last cursor, so that nothing is missed and nothing comes twice. Otherwise it ends with a StreamEnd.
 */
export class Upstream {
  readonly #options: UpstreamOptions;
  readonly #closing = new AbortController();
  #position: StartPosition;
  /** False while the stream is "from now" and nothing has told where that is. */
  #positionKnown: boolean;
  #established = false;
  readonly #openedAt = performance.now();
  #stream: AsyncIterableIterator<ExecutionResult> | null = null;
  #lostAt: number | null = null;
  #attempts = 0;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#position = options.start;
    this.#positionKnown = options.start.after !== null || options.start.snapshot;
  }

  /** Ends `events()` at once, also while it is quiet. */
  close(): void {
    this.#closing.abort();
    this.#release();
  }

  /** To be read by one reader. Ends without an error when closed, or when a stream that cannot be resumed is complete. */
  async *events(): AsyncGenerator<UpstreamEvent, void> {
    while (!this.#closing.signal.aborted) {
      const credentials = this.#options.credentials();
      if (!credentials) return;
      let loss: StreamEnd | null = null;
      try {
        const stream = this.#options.open(this.#position, credentials);
        this.#stream = stream;
        for (;;) {
          const { done, value } = await stream.next();
          if (this.#closing.signal.aborted) return;
          if (done === true) break;
          loss = StreamEnd.inResult(value);
          if (loss) break;
          yield this.#received(value);
        }
      } catch (error) {
        loss = StreamEnd.from(error);
      } finally {
        this.#release();
      }
      if (this.#closing.signal.aborted) return;
      if (!loss && !this.#options.resumable) return;
      const end = loss ?? StreamEnd.from(unavailable(this.#options.subgraph, "ended the subscription"));
      await this.#recover(end, loss === null, credentials);
    }
  }

  #received(result: ExecutionResult): UpstreamEvent {
    this.#established = true;
    this.#lostAt = null;
    this.#attempts = 0;
    const event = this.#options.readEvent(result);
    if (event.cursor !== null) {
      this.#position = { after: event.cursor, snapshot: false };
      this.#positionKnown = true;
    }
    return event;
  }

  /** Returns when it is time to subscribe again; throws the loss where that would be wrong, or has failed for too long. */
  async #recover(loss: StreamEnd, completed: boolean, used: Credentials): Promise<void> {
    this.#established ||= completed || loss.reason === CONNECTION_LOST;
    if (!this.#options.resumable) throw loss;
    if (loss.code === "TOKEN_EXPIRED") return this.#renew(loss, used);
    if (!TRANSIENT.has(loss.code)) throw loss;
    const now = performance.now();
    if (!this.#established) {
      if (now - this.#openedAt >= this.#options.openMs) throw loss;
      await this.#backOff();
      return;
    }
    if (!this.#positionKnown) throw this.#lostFor("was lost before it told a position: subscribe again");
    this.#lostAt ??= now;
    if (now - this.#lostAt >= this.#options.resumeMs) throw this.#lostFor("was lost and did not come back");
    if (this.#attempts === 0)
      this.#options.log.info({ subgraph: this.#options.subgraph, code: loss.code }, "upstream lost, subscribing again");
    this.#options.onResume();
    await this.#backOff();
  }

  async #backOff(): Promise<void> {
    await pause(backoffMs(this.#attempts), this.#closing.signal);
    this.#attempts += 1;
  }

  /** The token that opened the upstream is over; another client of the same identity may have a fresher one. */
  #renew(loss: StreamEnd, used: Credentials): void {
    const fresh = this.#options.credentials();
    if (!fresh || fresh.token === used.token || fresh.expiresAt <= Date.now()) throw loss;
    if (!this.#positionKnown) throw this.#lostFor("was lost before it told a position: subscribe again");
    this.#options.onResume();
  }

  #release(): void {
    const stream = this.#stream;
    this.#stream = null;
    stream
      ?.return?.()
      .catch((error: unknown) => this.#options.log.warn({ err: error }, "a subscription to a subgraph did not end cleanly"));
  }

  #lostFor(why: string): StreamEnd {
    return StreamEnd.from(unavailable(this.#options.subgraph, why));
  }
}

/** 100 ms, doubled each time up to 5 s, and up to half of it taken off at random so that not all come back at once. */
function backoffMs(attempt: number): number {
  return Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt) * (1 - Math.random() / 2);
}
