import type { ExecutionResult } from "graphql";
import { createClient } from "graphql-ws";
import { WebSocket } from "ws";
import type { SubgraphRequest } from "../../platform/subgraph-handler.ts";

/** A subgraph as a test calls it: the same requests in process and over the wire. Answers are the JSON text as received. */
export interface SubgraphClient {
  execute(request: SubgraphRequest): Promise<string>;
  /** `opened` resolves once the request is on its way. */
  subscribe(request: SubgraphRequest): AsyncIterableIterator<string>;
  close(): Promise<void>;
}

/** Over HTTP and graphql-ws. */
export function wireClient(url: string): SubgraphClient {
  const closers: Array<() => unknown> = [];
  return {
    async execute({ query, operationName, variables, headers, deadlineMs, signal }) {
      const response = await fetch(url, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...headers,
          ...(deadlineMs === undefined ? {} : { "x-deadline-ms": `${deadlineMs}` }),
        },
        body: JSON.stringify({ query, operationName, variables }),
        signal: signal ?? null,
      });
      return response.text();
    },
    subscribe({ query, operationName, variables, headers, signal }) {
      const client = createClient({
        url: url.replace("http", "ws"),
        webSocketImpl: WebSocket,
        connectionParams: headers,
        retryAttempts: 0,
      });
      closers.push(() => client.dispose());
      const results = client.iterate({ query, operationName: operationName ?? null, variables: variables ?? null });
      signal?.addEventListener("abort", () => void results.return?.(), { once: true });
      return asText(results as AsyncIterableIterator<ExecutionResult>);
    },
    async close() {
      for (const close of closers) await close();
    },
  };
}

/** By the handler itself. */
export function localClient(handler: {
  execute(request: SubgraphRequest): Promise<ExecutionResult>;
  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult>;
}): SubgraphClient {
  return {
    execute: async (request) => JSON.stringify(await handler.execute(request)),
    subscribe: (request) => asText(handler.subscribe(request)),
    close: async () => undefined,
  };
}

function asText(source: AsyncIterableIterator<ExecutionResult>): AsyncIterableIterator<string> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const { done, value } = await source.next();
      return done === true ? { done: true, value: undefined } : { done: false, value: JSON.stringify(value) };
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}
