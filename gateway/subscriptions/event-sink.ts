import type { StreamEnd } from "./stream-end.ts";

/** Where one client's events go. */
export interface EventSink {
  /** False while the client's socket is full; `SubscriptionHandle.onWritable` is called when it no longer is. */
  readonly writable: boolean;
  /** `payload` is JSON. */
  next(payload: string): void;
  /** The last call. Null where a finite stream is complete. */
  end(end: StreamEnd | null): void;
}

/** One client's subscription, as its connection holds it. */
export interface SubscriptionHandle {
  /** The client left, or is told by others why it must: nothing is sent any more. */
  close(): void;
  onWritable(): void;
}
