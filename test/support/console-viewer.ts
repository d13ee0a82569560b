import { createRequire } from "node:module";
import type { Terminal as HeadlessTerminal } from "@xterm/headless";
import { GraphQLSocket, type SocketOperation } from "./graphql-socket.ts";
import { until } from "./until.ts";

// Its module is CommonJS whose names Node cannot find out.
const { Terminal } = createRequire(import.meta.url)("@xterm/headless") as { Terminal: typeof HeadlessTerminal };

const OUTPUT = `subscription ($id: ID!, $offset: Int64, $encoding: ConsoleEncoding) {
  consoleOutput(sessionId: $id, offset: $offset, encoding: $encoding) { offset nextOffset data skipped session { ended } message } }`;
const WRITE = "mutation ($input: WriteConsoleInput!) { writeConsole(input: $input) { nextSequence repeated } }";
const RESIZE = "mutation ($input: ResizeConsoleInput!) { resizeConsole(input: $input) { session { columns rows } } }";
/** Longer than anything that is waited for. */
const FOREVER_MS = 3_600_000;

export interface OutputFrame {
  offset: number;
  nextOffset: number;
  data: string;
  skipped: boolean;
  session: { ended: string | null } | null;
  message: string | null;
}

/**
 * Somebody at a console: what is put out goes to a real terminal emulator, what that answers (where the cursor is) is typed back, and all
 * goes over one WebSocket to the gateway, which can be cut and come back.
 */
export class ConsoleViewer {
  readonly sessionId: string;
  readonly frames: OutputFrame[] = [];
  readonly terminal: HeadlessTerminal;
  readonly #url: string;
  readonly #token: string;
  #socket: GraphQLSocket | null = null;
  #following: Promise<void> = Promise.resolve();
  #typing: Promise<unknown> = Promise.resolve();
  #sequence: number | null;
  #onFrame: ((frame: OutputFrame) => void) | null = null;

  /** `sequence`: of the first input; null types nothing, not even what the emulator answers. */
  constructor({ url, token, sessionId, sequence }: { url: string; token: string; sessionId: string; sequence: number | null }) {
    this.#url = url;
    this.#token = token;
    this.sessionId = sessionId;
    this.#sequence = sequence;
    this.terminal = new Terminal({ cols: 80, rows: 24, scrollback: 100, allowProposedApi: true });
    if (sequence !== null) this.terminal.onData((data) => void this.type(data).catch(() => undefined));
  }

  get socket(): GraphQLSocket {
    if (this.#socket === null) throw new Error("The viewer is not connected.");
    return this.#socket;
  }

  /** All that was put out, from the first frame on. */
  get text(): string {
    return this.frames.map(({ data }) => data).join("");
  }

  get nextOffset(): number {
    return this.frames.at(-1)?.nextOffset ?? 0;
  }

  /** What the screen shows, without what is empty at the ends of lines. */
  get screen(): string[] {
    const { active } = this.terminal.buffer;
    return Array.from(
      { length: this.terminal.rows },
      (_, row) =>
        active
          .getLine(active.baseY + row)
          ?.translateToString(true, 0, this.terminal.cols)
          .trimEnd() ?? "",
    );
  }

  /** Goes on behind what it has; from the oldest byte on that is kept where it has nothing. */
  async connect(): Promise<SocketOperation> {
    this.#socket = await GraphQLSocket.connect(this.#url, this.#token);
    const offset = this.frames.length === 0 ? null : this.nextOffset;
    const operation = this.#socket.start(OUTPUT, { id: this.sessionId, offset });
    this.#following = this.#follow(operation);
    return operation;
  }

  /** As when the network goes away. */
  async cut(): Promise<void> {
    await this.socket.close();
    await this.#following;
    this.#socket = null;
  }

  /** Inputs are numbered, and typed in the order of the calls. */
  type(text: string): Promise<unknown> {
    this.#typing = this.#typing.then(async () => {
      if (this.#sequence === null) throw new Error("This viewer only reads.");
      const { writeConsole } = await this.#ask(WRITE, { sessionId: this.sessionId, text, sequence: this.#sequence });
      this.#sequence = (writeConsole as { nextSequence: number }).nextSequence;
    });
    return this.#typing;
  }

  /** Resolves when the emulator has read all that came, and what it answers is typed. */
  async settled(): Promise<void> {
    await new Promise<void>((resolve) => this.terminal.write("", resolve));
    await this.#typing;
  }

  async resize(columns: number, rows: number): Promise<void> {
    this.terminal.resize(columns, rows);
    await this.#ask(RESIZE, { sessionId: this.sessionId, columns, rows });
  }

  /** Waits until what was put out behind `from` has a text in it. */
  async shows(text: string, { from = 0, timeoutMs = 60_000 } = {}): Promise<void> {
    await until(() => this.text.indexOf(text, from) >= 0, `${JSON.stringify(text)} on the console`, timeoutMs).catch((error: Error) => {
      throw new Error(`${error.message} It shows ${JSON.stringify(this.text.slice(from).slice(-2_000))}`);
    });
  }

  /** Resolves with the next frame for which this holds. One waits at a time. */
  changed(holds: (frame: OutputFrame) => boolean): Promise<OutputFrame> {
    return new Promise((resolve) => {
      this.#onFrame = (frame) => {
        if (holds(frame)) resolve(frame);
      };
    });
  }

  /** Waits until the screen is so. */
  async screenIs(holds: (lines: string[]) => boolean, what: string): Promise<void> {
    await until(() => holds(this.screen), what).catch((error: Error) => {
      throw new Error(`${error.message} The screen is\n${this.screen.join("\n")}`);
    });
  }

  async close(): Promise<void> {
    if (this.#socket) await this.cut();
    this.terminal.dispose();
  }

  async #ask(query: string, input: object): Promise<Record<string, unknown>> {
    const operation = this.socket.start(query, { input });
    await operation.until(() => operation.end !== null, 60_000);
    const { data, errors } = operation.results[0] ?? {};
    if (!data || errors) throw new Error(JSON.stringify(errors ?? operation.end));
    return data;
  }

  async #follow(operation: SocketOperation): Promise<void> {
    for (let seen = 0; ; ) {
      await operation.until(() => operation.results.length > seen || operation.end !== null, FOREVER_MS);
      for (const { data } of operation.results.slice(seen)) {
        const frame = data?.["consoleOutput"] as OutputFrame;
        this.frames.push(frame);
        this.#onFrame?.(frame);
        if (frame.data !== "") this.terminal.write(frame.data);
      }
      const isAll = seen === operation.results.length;
      seen = operation.results.length;
      if (operation.end !== null && isAll) return;
    }
  }
}
