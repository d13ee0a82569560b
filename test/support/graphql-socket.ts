import WebSocket from "ws";

export interface SocketEnd {
  kind: "error" | "complete" | "closed";
  errors: { message: string; path?: (string | number)[]; extensions: Record<string, unknown> }[];
  /** The socket's close code, where the socket's end was the operation's. */
  closeCode?: number;
}

export interface SocketResult {
  data?: Record<string, unknown> | null;
  errors?: SocketEnd["errors"];
}

const DEFAULT_WAIT_MS = 15_000;

/** A client of graphql-transport-ws that shows every frame: tests can also send what no client should. */
export class GraphQLSocket {
  readonly socket: WebSocket;
  readonly frames: Record<string, unknown>[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #operations = new Map<string, SocketOperation>();
  readonly #waiters = new Set<() => void>();
  #nextId = 1;

  private constructor(url: string, options: { protocol?: string; headers?: Record<string, string> }) {
    this.socket = new WebSocket(`${url.replace(/^http/, "ws")}/graphql`, options.protocol ?? "graphql-transport-ws", {
      headers: options.headers,
    });
    this.socket.on("message", (data) => this.#receive(JSON.parse(String(data))));
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => {
        for (const operation of this.#operations.values()) operation.finish({ kind: "closed", errors: [], closeCode: code });
        resolve({ code, reason: String(reason) });
        this.#wake();
      });
    });
    this.socket.on("error", () => undefined);
  }

  /** A socket without connection_init. */
  static async open(url: string, options: { protocol?: string; headers?: Record<string, string> } = {}): Promise<GraphQLSocket> {
    const client = new GraphQLSocket(url, options);
    await new Promise<void>((resolve, reject) => {
      client.socket.once("open", resolve);
      client.socket.once("error", reject);
    });
    return client;
  }

  /** A socket that is acknowledged. */
  static async connect(url: string, token: string, payload: Record<string, unknown> = {}): Promise<GraphQLSocket> {
    const client = await GraphQLSocket.open(url);
    client.send({ type: "connection_init", payload: { authorization: `Bearer ${token}`, ...payload } });
    await client.frame(({ type }) => type === "connection_ack");
    return client;
  }

  send(message: unknown): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  /** The first frame, of those to come or there already, for which this holds. */
  async frame(matches: (frame: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
    await this.#until(() => this.frames.some(matches) || this.socket.readyState === WebSocket.CLOSED);
    const found = this.frames.find(matches);
    if (!found) throw new Error(`The socket was closed; frames: ${JSON.stringify(this.frames)}`);
    return found;
  }

  start(query: string, variables: Record<string, unknown> = {}, id = String(this.#nextId++)): SocketOperation {
    const operation = new SocketOperation(this, id);
    this.#operations.set(id, operation);
    this.send({ id, type: "subscribe", payload: { query, variables } });
    return operation;
  }

  async close(): Promise<void> {
    this.socket.terminate();
    await this.closed;
  }

  #receive(frame: Record<string, unknown>): void {
    this.frames.push(frame);
    const operation = this.#operations.get(String(frame["id"]));
    if (frame["type"] === "next") operation?.take(frame["payload"] as SocketResult);
    if (frame["type"] === "error") operation?.finish({ kind: "error", errors: frame["payload"] as SocketEnd["errors"] });
    if (frame["type"] === "complete") operation?.finish({ kind: "complete", errors: [] });
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  async #until(condition: () => boolean): Promise<void> {
    await waitFor(condition, (wake) => {
      this.#waiters.add(wake);
      return () => this.#waiters.delete(wake);
    });
  }
}

/** One operation's results and end, in the order in which they came. */
export class SocketOperation {
  readonly id: string;
  readonly results: SocketResult[] = [];
  end: SocketEnd | null = null;
  readonly #client: GraphQLSocket;
  readonly #waiters = new Set<() => void>();

  constructor(client: GraphQLSocket, id: string) {
    this.#client = client;
    this.id = id;
  }

  take(result: SocketResult): void {
    this.results.push(result);
    for (const waiter of this.#waiters) waiter();
  }

  finish(end: SocketEnd): void {
    this.end ??= end;
    for (const waiter of this.#waiters) waiter();
  }

  stop(): void {
    this.#client.send({ id: this.id, type: "complete" });
  }

  /** Waits until so many results are there. */
  async received(count: number, timeoutMs = DEFAULT_WAIT_MS): Promise<SocketResult[]> {
    await this.until(() => this.results.length >= count || this.end !== null, timeoutMs);
    if (this.results.length < count) throw new Error(`Ended after ${this.results.length} of ${count}: ${JSON.stringify(this.end)}`);
    return this.results.slice(0, count);
  }

  async ended(timeoutMs = DEFAULT_WAIT_MS): Promise<SocketEnd> {
    await this.until(() => this.end !== null, timeoutMs);
    return this.end as SocketEnd;
  }

  until(condition: () => boolean, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
    const seen = () => `${this.results.length} results, the last ${JSON.stringify(this.results.at(-1))}, end ${JSON.stringify(this.end)}`;
    return waitFor(
      condition,
      (wake) => {
        this.#waiters.add(wake);
        return () => this.#waiters.delete(wake);
      },
      timeoutMs,
      seen,
    );
  }
}

/** What a result holds in one of its root fields; empty where it holds nothing. */
export function inField<T>(result: SocketResult | undefined, field: string): Partial<T> {
  return (result?.data?.[field] ?? {}) as Partial<T>;
}

/** Polls what has no event of its own. */
export async function eventually(condition: () => boolean | Promise<boolean>, timeoutMs = DEFAULT_WAIT_MS): Promise<void> {
  const until = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`Not so after ${timeoutMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function waitFor(
  condition: () => boolean,
  onChange: (wake: () => void) => () => void,
  timeoutMs = DEFAULT_WAIT_MS,
  seen: () => string = () => "",
): Promise<void> {
  if (condition()) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error(`Not so after ${timeoutMs} ms: ${condition}; ${seen()}`)), timeoutMs);
  const off = onChange(() => {
    if (condition()) resolve();
  });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    off();
  }
}
