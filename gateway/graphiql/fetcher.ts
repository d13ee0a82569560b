import type { Fetcher, FetcherParams } from "@graphiql/toolkit";
import { type ExecutionResult, type GraphQLError, Kind, type OperationDefinitionNode, OperationTypeNode, parse } from "graphql";
import { type Client, createClient } from "graphql-ws";
import { newestFirst } from "./newest-first.ts";

const ENDPOINT = new URL("graphql", location.href);
/** These say that the token is the trouble. */
const SIGN_IN_CODES = new Set(["UNAUTHENTICATED", "TOKEN_EXPIRED"]);

/**
 * Queries and mutations go over HTTP, subscriptions over one WebSocket that is open while there are any. Nothing is tried again by
 * itself: what ends a subscription is shown. `onRefused` is told when the server does not take the token.
 */
export function createFetcher(token: string | null, onRefused: (reason: string) => void): Fetcher {
  const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const socket = createClient({
    url: ENDPOINT.href.replace(/^http/, "ws"),
    connectionParams: () => authorization,
    lazy: true,
    retryAttempts: 0,
    keepAlive: 30_000,
  });
  const inspect = (result: ExecutionResult): ExecutionResult => {
    const refusal = result.errors?.find((error) => SIGN_IN_CODES.has(String(error.extensions?.code)));
    if (refusal !== undefined && token !== null) onRefused(refusal.message);
    return result;
  };
  return (params, options) => {
    const operation = chosenOperation(params);
    const named = operation === null ? params : { ...params, operationName: operation.name?.value };
    if (operation?.operation === OperationTypeNode.SUBSCRIPTION) return newestFirst(subscribe(socket, named), inspect);
    return post(named, { ...options?.headers, ...authorization }).then(inspect);
  };
}

async function post(params: FetcherParams, headers: Record<string, string>): Promise<ExecutionResult> {
  const response = await fetch(ENDPOINT, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json", accept: "application/graphql-response+json, application/json;q=0.9" },
    body: JSON.stringify(params),
  });
  const text = await response.text();
  try {
    return JSON.parse(text) as ExecutionResult;
  } catch {
    throw new Error(`The server answered ${response.status} ${response.statusText}: ${text.slice(0, 200)}`);
  }
}

function subscribe(socket: Client, params: FetcherParams): AsyncIterableIterator<ExecutionResult> {
  const { query, variables, operationName } = params;
  const results = socket.iterate({
    query,
    variables: variables as Record<string, unknown>,
    operationName,
  }) as AsyncIterableIterator<ExecutionResult>;
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => results.next().catch((error: unknown) => Promise.reject(readable(error))),
    return: async (value) => (await results.return?.(value)) ?? { done: true, value },
  };
}

/** graphql-ws rejects with a list of GraphQL errors, with the socket's close event, or with an error. */
function readable(error: unknown): unknown {
  if (error instanceof CloseEvent) return new Error(`The connection was closed: ${error.reason || "no reason was given"} (${error.code})`);
  if (Array.isArray(error)) return new AggregateError(error, (error as GraphQLError[]).map((each) => each.message).join("\n"));
  return error;
}

/**
 * The operation that the document's text means. GraphiQL tells too, but late: right after another tab was opened it still names the
 * operation of the tab before. Null where the text says nothing clear, which is the server's to explain.
 */
function chosenOperation({ query, operationName }: FetcherParams): OperationDefinitionNode | null {
  try {
    const operations = parse(query).definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
    return operations.find(({ name }) => name?.value === operationName) ?? (operations.length === 1 ? (operations[0] ?? null) : null);
  } catch {
    return null;
  }
}
