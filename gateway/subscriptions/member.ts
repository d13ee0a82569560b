import { FleetError } from "../../platform/errors/fleet-error.ts";
import { DeliveredPositions } from "./delivered-positions.ts";
import type { EventRing } from "./event-ring.ts";
import type { EventSink, SubscriptionHandle } from "./event-sink.ts";
import type { EventStream, ResolvedEvent } from "./event-stream.ts";
import { StreamEnd } from "./stream-end.ts";
import type { StartPosition } from "./subscription-operation.ts";
import type { Credentials } from "./upstream.ts";

/** What a member needs of the stream that it shares. */
export interface MemberHost {
  readonly ring: EventRing;
  /** True where the shared stream is running, and so the cursors in the ring can be trusted. */
  readonly running: boolean;
  /** The client's own upstream is at the present: it becomes the shared one if there is none, and the client goes live on it. */
  adopt(stream: EventStream, at: ResolvedEvent, from: Member): boolean;
  leave(member: Member): void;
  onDelivered(): void;
  onSpliced(): void;
}

type State =
  /** On an upstream of its own; to its end, where the stream cannot be resumed. */
  | { readonly kind: "catching-up"; readonly stream: EventStream; readonly passed: DeliveredPositions }
  /** Ahead of the shared stream, which still has to come to the event with this cursor. */
  | { readonly kind: "ahead"; readonly skipUntil: string }
  /** On the shared stream, at this number. With an end, the stream is over for this client once it has read so far. */
  | { readonly kind: "live"; position: number; end: { readonly at: number; readonly reason: StreamEnd | null } | null }
  | { readonly kind: "ended" };

/** One client of a shared stream: first on its own upstream where it has something to catch up, then at a place in the ring of all. */
export class Member implements SubscriptionHandle {
  readonly credentials: Credentials;
  readonly #host: MemberHost;
  readonly #sink: EventSink;
  readonly #stallMs: number;
  #state: State = { kind: "ended" };
  #onWritable: (() => void) | null = null;

  constructor(host: MemberHost, sink: EventSink, credentials: Credentials, stallMs: number) {
    this.#host = host;
    this.#sink = sink;
    this.credentials = credentials;
    this.#stallMs = stallMs;
  }

  get catchingUp(): boolean {
    return this.#state.kind === "catching-up";
  }

  /** Reads the shared stream from this number on. */
  goLive(position: number): void {
    this.#state = { kind: "live", position, end: null };
    this.flush();
  }

  /** Reads its own upstream until that meets the shared stream; for as long as it does not, that is where it stays. */
  catchUp(stream: EventStream, start: StartPosition): void {
    const state = { kind: "catching-up", stream, passed: new DeliveredPositions(start) } as const;
    this.#state = state;
    void this.#follow(state).catch((error: unknown) => {
      if (this.#state === state) this.#finish(StreamEnd.from(error));
    });
  }

  /** The shared stream has come to an event, which is the latest in the ring. */
  onShared(event: ResolvedEvent): void {
    const state = this.#state;
    if (event.cursor === null) return;
    if (state.kind === "ahead" && state.skipUntil === event.cursor) this.#splice(this.#host.ring.next);
    if (state.kind !== "catching-up") return;
    const continuation = state.passed.continuation(event.cursor);
    if (continuation === null) return;
    state.stream.close();
    if ("behind" in continuation) this.#splice(this.#host.ring.next);
    else this.#state = { kind: "ahead", skipUntil: continuation.skipUntil };
  }

  /** Sends what is there, as far as the socket takes it. */
  flush(): void {
    const state = this.#state;
    if (state.kind !== "live") return;
    const { ring } = this.#host;
    const last = state.end?.at ?? ring.next;
    while (state.position < last) {
      if (!this.#sink.writable && state.position >= ring.first) return;
      const event = ring.get(state.position);
      if (!event) {
        this.#finish(tooSlow());
        return;
      }
      state.position += 1;
      this.#host.onDelivered();
      this.#sink.next(event.payload);
      if (this.#state !== state) return;
    }
    if (state.end) this.#finish(state.end.reason);
  }

  /** The shared stream is over; what it has brought is still delivered. One that catches up is not concerned. */
  onSharedEnd(reason: StreamEnd | null): void {
    if (this.#state.kind === "ahead") {
      this.#finish(reason);
      return;
    }
    if (this.#state.kind !== "live") return;
    this.#state.end ??= { at: this.#host.ring.next, reason };
    this.flush();
  }

  onWritable(): void {
    this.#onWritable?.();
    this.flush();
  }

  close(): void {
    const state = this.#state;
    if (state.kind === "ended") return;
    this.#state = { kind: "ended" };
    if (state.kind === "catching-up") state.stream.close();
    this.#onWritable?.();
    this.#host.leave(this);
  }

  /** Ends the client's subscription from this side. */
  end(reason: StreamEnd): void {
    this.#finish(reason);
  }

  async #follow(state: State & { kind: "catching-up" }): Promise<void> {
    for (;;) {
      await this.#writable();
      const event = await state.stream.next();
      if (this.#state !== state) return;
      if (!event) return this.#finish(null);
      this.#host.onDelivered();
      this.#sink.next(event.payload);
      state.passed.record(event);
      if (this.#state !== state || this.#meetsShared(state, event)) return;
    }
  }

  #meetsShared(state: State & { kind: "catching-up" }, event: ResolvedEvent): boolean {
    if (this.#host.running) {
      for (const cursor of state.passed.candidates()) {
        const position = this.#host.ring.behind(cursor);
        if (position === undefined) continue;
        state.stream.close();
        this.#splice(position);
        return true;
      }
      return false;
    }
    return event.bookmark && event.cursor !== null && this.#host.adopt(state.stream, event, this);
  }

  #splice(position: number): void {
    this.#host.onSpliced();
    this.goLive(position);
  }

  /** Waits until the socket takes more, so that a catch-up of any length needs no queue. Throws SLOW_CONSUMER where that takes too long. */
  async #writable(): Promise<void> {
    if (this.#sink.writable) return;
    let timer: NodeJS.Timeout | undefined;
    const stalled = await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(true), this.#stallMs);
      this.#onWritable = () => resolve(false);
    });
    clearTimeout(timer);
    this.#onWritable = null;
    if (stalled) throw tooSlow();
  }

  #finish(reason: StreamEnd | null): void {
    if (this.#state.kind === "ended") return;
    this.close();
    this.#sink.end(reason);
  }
}

function tooSlow(): StreamEnd {
  return StreamEnd.from(new FleetError("SLOW_CONSUMER", "The client does not read its events fast enough."));
}
