import { setTimeout as sleep } from "node:timers/promises";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Logger } from "../../../platform/observability/log.ts";
import type { JsonValue } from "../store/json.ts";
import type { Bus, Unsubscribe } from "./bus.ts";

const MAX_PAUSE_MS = 2_000;
/** What may be on its way unconfirmed: beyond the first bound only `small` payloads are sent, beyond the second nothing. */
const MAX_COPIES_BYTES = 8 * 1024 * 1024;
const MAX_UNCONFIRMED_BYTES = 16 * 1024 * 1024;
const FLUSH_EVERY_BYTES = 256 * 1024;
const CLOSE_TIMEOUT_MS = 2_000;

export interface NatsBusOptions {
  /** `nats://host:port`, with user and password in it where the server wants them; several, comma separated. */
  url: string;
  name: string;
  log: Logger;
}

interface Topic {
  subscribers: Set<(payload: JsonValue) => void>;
  /** Of the present connection. */
  unsubscribe: Unsubscribe | null;
}

/**
 * The bus between replicas. It connects in the background and again for ever. While it is down, or the server does not keep up,
 * messages are dropped rather than kept: readers find them in the table. After every (re)connection each subscriber gets null,
 * which says "something may have been missed".
 */
export class NatsBus implements Bus {
  readonly #options: NatsBusOptions;
  readonly #topics = new Map<string, Topic>();
  readonly #closing = new AbortController();
  readonly #running: Promise<void>;
  #connection: NatsConnection | null = null;
  #up = false;
  #unconfirmed = 0;
  #unflushed = 0;

  constructor(options: NatsBusOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** False while messages are dropped; for readiness and metrics. */
  get connected(): boolean {
    return this.#up;
  }

  publish(subject: string, payload: JsonValue, small?: JsonValue): void {
    const connection = this.#connection;
    if (!connection || !this.#up || this.#unconfirmed > MAX_UNCONFIRMED_BYTES) return;
    try {
      const maxBytes = connection.info?.max_payload ?? 1024 * 1024;
      let data = this.#unconfirmed > MAX_COPIES_BYTES && small !== undefined ? encode(small) : encode(payload);
      if (data.length > maxBytes) {
        if (small === undefined) return;
        data = encode(small);
      }
      connection.publish(subject, data);
      this.#account(connection, data.length);
    } catch (error) {
      this.#options.log.debug({ err: error }, "a message was not published; readers find it in the table");
    }
  }

  subscribe(subject: string, onMessage: (payload: JsonValue) => void): Unsubscribe {
    let topic = this.#topics.get(subject);
    if (!topic) {
      topic = { subscribers: new Set(), unsubscribe: null };
      this.#topics.set(subject, topic);
      this.#listen(subject, topic);
    }
    const { subscribers } = topic;
    subscribers.add(onMessage);
    return () => {
      subscribers.delete(onMessage);
      const current = this.#topics.get(subject);
      if (subscribers.size > 0 || current?.subscribers !== subscribers) return;
      this.#topics.delete(subject);
      current.unsubscribe?.();
    };
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return this.#running;
    this.#topics.clear();
    const connection = this.#connection;
    if (connection && this.#up)
      await Promise.race([connection.drain().catch(() => undefined), sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })]);
    this.#closing.abort();
    await connection?.close().catch(() => undefined);
    await this.#running;
  }

  /** Connects, waits for the end of the connection, and starts over, until the bus is closed. The client reconnects by itself in between. */
  async #run(): Promise<void> {
    const { url, name, log } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const connection = await connect({
          servers: url.split(",").map((server) => server.trim()),
          name,
          timeout: 3_000,
          reconnect: true,
          maxReconnectAttempts: -1,
          reconnectTimeWait: 250,
          reconnectJitter: 250,
          pingInterval: 5_000,
          maxPingOut: 2,
        });
        failures = 0;
        await this.#use(connection);
      } catch (error) {
        if (!signal.aborted && failures % 20 === 0)
          log.warn({ err: error }, "NATS is out of reach; events are found by the sweep until it is back");
      }
      const pauseMs = Math.min(MAX_PAUSE_MS, 100 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random());
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Until the connection is closed for good. */
  async #use(connection: NatsConnection): Promise<void> {
    const { log } = this.#options;
    if (this.#closing.signal.aborted) {
      await connection.close();
      return;
    }
    this.#connection = connection;
    this.#setUp(true);
    log.info({ server: connection.getServer() }, "NATS connected");
    for (const [subject, topic] of this.#topics) this.#listen(subject, topic);
    this.#wakeAll();
    const closed = connection.closed();
    void this.#followStatus(connection);
    await closed;
    this.#setUp(false);
    this.#connection = null;
    for (const topic of this.#topics.values()) topic.unsubscribe = null;
  }

  async #followStatus(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (this.#connection !== connection) return;
      if (status.type === "disconnect") {
        this.#setUp(false);
        this.#options.log.warn("NATS connection lost; events are found by the sweep until it is back");
      } else if (status.type === "reconnect") {
        this.#setUp(true);
        this.#options.log.info({ server: status.server }, "NATS connected again");
        this.#wakeAll();
      } else if (status.type === "error") {
        this.#options.log.warn({ err: status.error }, "NATS reports an error");
      }
    }
  }

  #setUp(up: boolean): void {
    this.#up = up;
    this.#unconfirmed = 0;
    this.#unflushed = 0;
  }

  #listen(subject: string, topic: Topic): void {
    const connection = this.#connection;
    if (!connection || connection.isClosed()) return;
    const subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (error) return;
        const payload = decode(message.data);
        for (const onMessage of topic.subscribers) onMessage(payload);
      },
    });
    topic.unsubscribe = () => {
      if (!connection.isClosed()) subscription.unsubscribe();
    };
  }

  #wakeAll(): void {
    for (const { subscribers } of this.#topics.values()) {
      for (const onMessage of subscribers) onMessage(null);
    }
  }

  /** Asks the server now and then how far it has come: what is unconfirmed is what sits in our memory. */
  #account(connection: NatsConnection, bytes: number): void {
    this.#unconfirmed += bytes;
    this.#unflushed += bytes;
    if (this.#unflushed < FLUSH_EVERY_BYTES) return;
    const confirmed = this.#unflushed;
    this.#unflushed = 0;
    connection.flush().then(
      () => {
        this.#unconfirmed = Math.max(0, this.#unconfirmed - confirmed);
      },
      () => undefined,
    );
  }
}

function encode(payload: JsonValue): Uint8Array {
  return Buffer.from(JSON.stringify(payload));
}

/** What is not JSON is a wake-up like any other. */
function decode(data: Uint8Array): JsonValue {
  try {
    return JSON.parse(Buffer.from(data).toString("utf8")) as JsonValue;
  } catch {
    return null;
  }
}
