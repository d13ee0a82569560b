import type { IncomingMessage } from "node:http";
import { FleetError } from "../../platform/errors/fleet-error.ts";

/** The body as JSON; undefined where its type is another. Throws INVALID_ARGUMENT for what is not JSON, RESOURCE_EXHAUSTED where it is too long. */
export async function readJsonBody(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLong(maxBytes);
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLong(maxBytes);
    chunks.push(chunk);
  }
  if (!/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch (error) {
    throw new FleetError("INVALID_ARGUMENT", "The body is not JSON.", { reason: "MalformedBody", cause: error });
  }
}

function tooLong(maxBytes: number): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `The body is longer than ${maxBytes} bytes.`, {
    reason: "BodyTooLarge",
    details: { maxBytes },
  });
}
