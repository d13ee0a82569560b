import type { JsonValue } from "../store/json.ts";

export type Unsubscribe = () => void;

/**
 * Carries wake-ups and copies between the readers of event logs, in one process or between replicas. It may lose, repeat, delay and
 * reorder: the table is the log, and readers fill what is missing from there.
 */
export interface Bus {
  /**
   * Returns at once and never throws. `small` is sent instead where `payload` is larger than the bus carries.
   * Payloads are shared with in-process subscribers: nobody changes one after the call.
   */
  publish(subject: string, payload: JsonValue, small?: JsonValue): void;
  /** `onMessage` must not throw. */
  subscribe(subject: string, onMessage: (payload: JsonValue) => void): Unsubscribe;
  /** Ends all subscriptions; what was published before is sent, within a short time. */
  close(): Promise<void>;
}

/** The bus of a single process. */
export class InProcessBus implements Bus {
  readonly #subscribers = new Map<string, Set<(payload: JsonValue) => void>>();

  publish(subject: string, payload: JsonValue): void {
    const subscribers = this.#subscribers.get(subject);
    if (!subscribers) return;
    // Not within the publisher's call: a writer's commit does not wait for its readers.
    queueMicrotask(() => {
      for (const onMessage of subscribers) onMessage(payload);
    });
  }

  subscribe(subject: string, onMessage: (payload: JsonValue) => void): Unsubscribe {
    const subscribers = this.#subscribers.get(subject) ?? new Set();
    this.#subscribers.set(subject, subscribers);
    subscribers.add(onMessage);
    return () => {
      subscribers.delete(onMessage);
      if (subscribers.size === 0 && this.#subscribers.get(subject) === subscribers) this.#subscribers.delete(subject);
    };
  }

  async close(): Promise<void> {
    this.#subscribers.clear();
  }
}
