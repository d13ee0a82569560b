import { notKubernetes, tooLarge } from "./answer-failures.ts";
import type { Answer } from "./transport.ts";

/** Reads an answer to its end, counted while it comes. */
export async function readText({ body }: Answer, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge("The API server's answer", maxBytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The JSON objects of a stream that has one in each line. NotKubernetes for a line that is none, TooLarge for one without an end.
 * A part of a line at the end is what a broken connection leaves: it is left out.
 */
export async function* readLines(body: AsyncIterable<Buffer>, maxLineBytes: number): AsyncGenerator<object, void, undefined> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      const rest = chunk.subarray(start, end);
      const line = pendingBytes === 0 ? rest : Buffer.concat([...pending, rest]);
      start = end + 1;
      pending = [];
      pendingBytes = 0;
      if (line.length > maxLineBytes) throw tooLarge("An event of the API server", maxLineBytes);
      if (line.length === 0) continue;
      const value = parseJson(line.toString("utf8"));
      if (typeof value !== "object" || value === null) throw notKubernetes("its events are no JSON objects");
      yield value;
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
      if (pendingBytes > maxLineBytes) throw tooLarge("An event of the API server", maxLineBytes);
    }
  }
}
