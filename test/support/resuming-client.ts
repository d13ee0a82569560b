import { createClient } from "graphql-ws";
import WebSocket from "ws";

export interface WatchedEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  cursor: string;
  [field: string]: unknown;
}

export interface ResumingClientOptions {
  /** ws://host:port/graphql */
  url: string;
  token: string;
  /** A subscription on one field, with the variables `$after: String` and `$snapshot: Boolean`. */
  query: string;
  /** The subscription's root field. */
  field: string;
  /** Beside those two. */
  variables?: Record<string, unknown>;
  /** Where the client begins; without it, with a snapshot. */
  after?: string;
}

/** A client as a careful user would write it: it remembers the last cursor and goes on behind it after every loss. */
export class ResumingClient {
  readonly events: WatchedEvent[] = [];
  /** Codes of the coded ends that were met, in order; "SOCKET" where the connection broke. */
  readonly ends: string[] = [];
  private cursor: string | null;
  private readonly abort = new AbortController();
  private readonly finished: Promise<void>;
  private readonly waiters = new Set<() => void>();

  private readonly options: ResumingClientOptions;
  private socket: WebSocket | null = null;

  constructor(options: ResumingClientOptions) {
    this.options = options;
    this.cursor = options.after ?? null;
    this.finished = this.run();
  }

  /** Resolves when `done` holds for what was received; rejects after `timeoutMs` with what was seen last. */
  async until(done: (events: WatchedEvent[]) => boolean, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!done(this.events)) {
      const left = deadline - performance.now();
      if (left <= 0)
        throw new Error(`not seen in ${timeoutMs} ms; last events: ${JSON.stringify(this.events.slice(-3))}; ends: ${this.ends.slice(-5)}`);
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.waiters.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, Math.min(left, 1_000));
        this.waiters.add(wake);
      });
    }
  }

  /** Cuts the socket without a goodbye, as a lost network would. */
  cut(): void {
    this.socket?.terminate();
  }

  async close(): Promise<void> {
    this.abort.abort();
    this.socket?.terminate();
    await this.finished;
  }

  private async run(): Promise<void> {
    while (!this.abort.signal.aborted) {
      await this.session();
      if (!this.abort.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  private async session(): Promise<void> {
    const remember = (socket: WebSocket) => {
      this.socket = socket;
    };
    const client = createClient({
      url: this.options.url,
      webSocketImpl: class extends WebSocket {
        constructor(url: string, protocols: string[]) {
          super(url, protocols, { handshakeTimeout: 5_000 });
          remember(this);
        }
      },
      connectionParams: { authorization: `Bearer ${this.options.token}` },
      retryAttempts: 0,
      lazy: true,
    });
    try {
      const position = this.cursor === null ? { snapshot: true } : { after: this.cursor };
      const variables = { ...this.options.variables, ...position };
      for await (const result of client.iterate({ query: this.options.query, variables })) {
        const code = result.errors?.[0]?.extensions?.["code"];
        if (code) this.ends.push(String(code));
        const event = (result.data as Record<string, WatchedEvent> | null | undefined)?.[this.options.field];
        if (!event) continue;
        this.cursor = event.cursor;
        this.events.push(event);
        for (const wake of [...this.waiters]) wake();
      }
    } catch (error) {
      this.ends.push(Array.isArray(error) ? String(error[0]?.extensions?.code ?? "ERROR") : "SOCKET");
    } finally {
      await client.dispose();
    }
  }
}
