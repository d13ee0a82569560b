import type { Logger } from "../../platform/observability/log.ts";
import type { LibvirtConnection } from "./connection.ts";
import { LibvirtError } from "./errors.ts";
import { EVENT_GROUPS, EVENTS, type EventKind, type EventName, type EventPayload } from "./protocol/event-table.ts";
import type { Frame } from "./protocol/frame.ts";
import type { ProcedureArguments } from "./protocol/table.ts";
import { XdrReader } from "./protocol/xdr.ts";

export type EventListener<E extends EventName> = (payload: EventPayload<E>) => void;

interface Subscription {
  readonly listeners: Set<(payload: never) => void>;
  /** What the daemon calls the registration, on the connection that is attached; null for none. */
  callbackId: number | null;
  /** The registration or its end is under way. */
  work: Promise<void> | null;
}

const NAMES_BY_NUMBER = new Map(Object.entries(EVENTS).map(([name, { number }]) => [number, name as EventName]));

/** Who listens to what. Keeps the daemon's registrations in step with that, on whichever connection there is. */
export class EventSubscriptions {
  readonly #log: Logger;
  readonly #subscriptions = new Map<EventName, Subscription>();
  #connection: LibvirtConnection | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Resolves, without an error, when no registration is under way; null when none is. */
  get settled(): Promise<unknown> | null {
    const work = [...this.#subscriptions.values()].flatMap((subscription) => subscription.work ?? []);
    return work.length === 0 ? null : Promise.all(work);
  }

  /** Registers everything that is listened to. What the hypervisor does not support is logged. Never throws. */
  async attach(connection: LibvirtConnection): Promise<void> {
    this.#connection = connection;
    for (const [name, subscription] of this.#subscriptions) {
      subscription.callbackId = null;
      this.#bringInStep(name, subscription);
    }
    await this.settled;
  }

  detach(): void {
    this.#connection = null;
    for (const subscription of this.#subscriptions.values()) subscription.callbackId = null;
  }

  add<E extends EventName>(name: E, listener: EventListener<E>): () => void {
    const subscription = this.#subscriptions.get(name) ?? { listeners: new Set(), callbackId: null, work: null };
    this.#subscriptions.set(name, subscription);
    // A function of its own, so that one listener that is added twice is called twice and removed once.
    const own = (payload: never) => listener(payload);
    subscription.listeners.add(own);
    this.#bringInStep(name, subscription);
    return () => {
      subscription.listeners.delete(own);
      this.#bringInStep(name, subscription);
    };
  }

  /** Throws MalformedMessage for an event that is not as the table says. */
  dispatch({ program, procedure, body }: Frame): void {
    const name = program === "remote" ? NAMES_BY_NUMBER.get(procedure) : undefined;
    const listeners = name && this.#subscriptions.get(name)?.listeners;
    if (name === undefined || listeners === undefined || listeners.size === 0) return;
    const { skippedInts, payload } = EVENTS[name] as EventKind<unknown>;
    const reader = new XdrReader(body);
    for (let skipped = 0; skipped < skippedInts; skipped++) reader.int();
    const event = payload.read(reader);
    reader.end();
    for (const listener of [...listeners]) {
      try {
        listener(event as never);
      } catch (error) {
        this.#log.error({ err: error, event: name }, "a listener to libvirt's events failed");
      }
    }
  }

  #bringInStep(name: EventName, subscription: Subscription): void {
    if (subscription.work !== null) return;
    const connection = this.#connection;
    const wanted = subscription.listeners.size > 0;
    if (connection === null || wanted === (subscription.callbackId !== null)) return;
    subscription.work = (wanted ? register(connection, name) : deregister(connection, name, subscription.callbackId ?? 0))
      .then(
        (callbackId) => {
          if (this.#connection === connection) subscription.callbackId = callbackId;
          return true;
        },
        (error: unknown) => {
          // A lost connection is told by the one who keeps it.
          if (error instanceof LibvirtError) this.#log.warn({ err: error, event: name }, "libvirt does not register this event");
          return this.#connection !== connection;
        },
      )
      .then((goOn) => {
        subscription.work = null;
        // Listeners may have come or gone, or another connection, in the meantime.
        if (goOn) this.#bringInStep(name, subscription);
        return subscription.work ?? undefined;
      });
  }
}

async function register(connection: LibvirtConnection, name: EventName): Promise<number> {
  const { group, eventId } = EVENTS[name];
  // Whichever group it is: without an object it is about all of them.
  const args: ProcedureArguments<(typeof EVENT_GROUPS)["domain"]["register"]> = { eventId };
  const { callbackId } = await connection.call(EVENT_GROUPS[group].register, args);
  return callbackId;
}

async function deregister(connection: LibvirtConnection, name: EventName, callbackId: number): Promise<null> {
  await connection.call(EVENT_GROUPS[EVENTS[name].group].deregister, { callbackId });
  return null;
}
