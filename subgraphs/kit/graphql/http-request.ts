import type { IncomingMessage } from "node:http";
import type { SubgraphRequest } from "../../../platform/subgraph-handler.ts";

const MAX_BODY_BYTES = 1024 * 1024;

/** A request that is refused before it is GraphQL. */
export class HttpRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Reads `{ query, operationName, variables }` from a POST of JSON. Throws HttpRefusal (400, 405, 413, 415). */
export async function readGraphQLRequest(request: IncomingMessage): Promise<SubgraphRequest> {
  if (request.method !== "POST") throw new HttpRefusal(405, "GraphQL is answered to POST.");
  // Browsers send other types across origins without asking first.
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) throw new HttpRefusal(415, "Send application/json.");
  const body = parseBody(await readBody(request));
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) if (typeof value === "string") headers[name] = value;
  const deadlineMs = Number(headers["x-deadline-ms"]);
  return { ...body, headers, deadlineMs: deadlineMs > 0 ? deadlineMs : undefined };
}

/** The GraphQL part of a decoded body. Throws HttpRefusal (400). */
export function parseBody(body: unknown): Pick<SubgraphRequest, "query" | "operationName" | "variables"> {
  if (!isRecord(body)) throw new HttpRefusal(400, "The body must be one JSON object.");
  const { query, operationName, variables } = body;
  if (typeof query !== "string") throw new HttpRefusal(400, "`query` must be a string.");
  if (operationName != null && typeof operationName !== "string") throw new HttpRefusal(400, "`operationName` must be a string.");
  if (variables != null && !isRecord(variables)) throw new HttpRefusal(400, "`variables` must be an object.");
  return { query, operationName: operationName ?? undefined, variables: variables ?? undefined };
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  if (Number(request.headers["content-length"]) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks, length).toString("utf8"));
  } catch {
    throw new HttpRefusal(400, "The body is not JSON.");
  }
}

function tooLarge(): HttpRefusal {
  return new HttpRefusal(413, `A body may have ${MAX_BODY_BYTES} bytes.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
