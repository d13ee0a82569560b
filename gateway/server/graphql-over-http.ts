import type { IncomingMessage, ServerResponse } from "node:http";
import { type ApolloServer, HeaderMap } from "@apollo/server";
import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { RequestScope } from "../execution/request-scope.ts";
import type { GatewayLimits } from "../limits.ts";
import { authenticate, type Caller, refusalOverHttp } from "./authentication.ts";
import { readJsonBody } from "./request-body.ts";
import { sendError } from "./responses.ts";

export interface GraphQLOverHttpOptions {
  readonly apollo: ApolloServer<RequestScope>;
  readonly verifier: TokenVerifier;
  readonly limits: GatewayLimits;
  readonly log: Logger;
}

/** Answers a GraphQL request by GET or POST. What it started ends when the client goes away. */
export async function serveGraphQL(
  request: IncomingMessage,
  response: ServerResponse,
  requestId: string,
  { apollo, verifier, limits, log }: GraphQLOverHttpOptions,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) gone.abort(new DOMException("The client went away.", "AbortError"));
  });
  const caller = authenticate(verifier, request.headers.authorization);
  caller.catch(() => undefined);
  let body: unknown;
  try {
    body = request.method === "POST" ? await readJsonBody(request, limits.requestBytes) : undefined;
  } catch (error) {
    if (gone.signal.aborted) return;
    return sendError(response, error);
  }
  const answer = await apollo.executeHTTPGraphQLRequest({
    httpGraphQLRequest: { method: request.method ?? "GET", headers: headerMap(request), search: searchOf(request), body },
    context: async () => ({ request: await requestContext(caller, requestId, gone.signal, limits, log) }),
  });
  if (response.destroyed) return;
  response.statusCode = answer.status ?? 200;
  for (const [name, value] of answer.headers) response.setHeader(name, value);
  // Incremental delivery is not offered, so that every answer is complete.
  response.end(answer.body.kind === "complete" ? answer.body.string : "");
}

async function requestContext(
  caller: Promise<Caller>,
  requestId: string,
  signal: AbortSignal,
  limits: GatewayLimits,
  log: Logger,
): Promise<RequestScope["request"]> {
  const { identity, token } = await caller.catch((error: unknown) => Promise.reject(refusalOverHttp(error)));
  return { requestId, identity, token, signal, deadlineAt: performance.now() + limits.operationMs, log: log.child({ requestId }) };
}

function headerMap({ headers }: IncomingMessage): HeaderMap {
  const map = new HeaderMap();
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) map.set(name, Array.isArray(value) ? value.join(", ") : value);
  return map;
}

function searchOf({ url = "" }: IncomingMessage): string {
  const query = url.indexOf("?");
  return query < 0 ? "" : url.slice(query);
}
