import { StringDecoder } from "node:string_decoder";

/** Far above the longest event or progress line of an engine. */
const MAX_LINE_CHARACTERS = 1024 * 1024;

/** The JSON objects of a stream with one in each line. Throws for a line that is none or too long, and what ends the stream early. */
export async function* jsonLines<T>(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<T, void, undefined> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(Buffer.from(chunk))).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield parse<T>(line);
    if (rest.length > MAX_LINE_CHARACTERS)
      throw new Error(`A line of the engine's answer has more than ${MAX_LINE_CHARACTERS} characters.`);
  }
  if (rest.trim() !== "") yield parse<T>(rest);
}

function parse<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (cause) {
    throw new Error(`The engine sent what is no JSON: ${line.slice(0, 100)}`, { cause });
  }
}
