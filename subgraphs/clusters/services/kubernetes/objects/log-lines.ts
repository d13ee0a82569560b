import { StringDecoder } from "node:string_decoder";

/** Characters of one line; what is behind them is left out. */
export const MAX_LINE = 64 * 1_024;

/** Lines out of bytes as they come. A line's end may be cut off: `truncated` counts those. Holds one line at most. */
export class LogLines {
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";
  #truncated = 0;

  get truncated(): number {
    return this.#truncated;
  }

  /** The lines that these bytes complete. */
  push(bytes: Buffer): string[] {
    const parts = (this.#rest + this.#decoder.write(bytes)).split("\n");
    // One character more than is shown tells that there was more.
    this.#rest = (parts.pop() ?? "").slice(0, MAX_LINE + 1);
    return parts.map((line) => this.#shown(line));
  }

  /** The last line, where it had no end. */
  end(): string[] {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = "";
    return rest === "" ? [] : [this.#shown(rest)];
  }

  #shown(line: string): string {
    if (line.length <= MAX_LINE) return line.endsWith("\r") ? line.slice(0, -1) : line;
    this.#truncated += 1;
    return line.slice(0, MAX_LINE).toWellFormed();
  }
}

/** The newest lines, as many as fit into a number of characters. */
export class NewestLines {
  readonly #maxCharacters: number;
  #lines: string[] = [];
  #start = 0;
  #characters = 0;

  constructor(maxCharacters: number) {
    this.#maxCharacters = maxCharacters;
  }

  /** Whether older lines had to go. */
  get truncated(): boolean {
    return this.#start > 0;
  }

  push(lines: readonly string[]): void {
    for (const line of lines) {
      this.#lines.push(line);
      this.#characters += line.length;
    }
    while (this.#characters > this.#maxCharacters && this.#start < this.#lines.length - 1) {
      this.#characters -= (this.#lines[this.#start] as string).length;
      this.#lines[this.#start] = "";
      this.#start += 1;
    }
  }

  lines(): string[] {
    return this.#lines.slice(this.#start);
  }
}
