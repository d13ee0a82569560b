import { randomBytes } from "node:crypto";
import type { Writable } from "node:stream";
import { HostReadError } from "../host-channel.ts";
import type { RunningProgram } from "../program.ts";

export interface ScriptLimits {
  timeoutMs: number;
  /** Of its output. */
  maxBytes: number;
}

export interface ScriptResult {
  stdout: string;
  /** Its last 4 KiB. */
  stderr: string;
}

interface Turn {
  mark: Buffer;
  maxBytes: number;
  output: Buffer[];
  length: number;
  ended: PromiseWithResolvers<void>;
}

const NAME = "sh";
const STDERR_BYTES = 4096;

/**
 * A shell of another machine that runs one script after another: to begin a session takes a slow host longer than most scripts. It is of no
 * more use after a script that failed.
 */
export class KeptShell {
  readonly #running: RunningProgram & { stdin: Writable };
  #turn: Turn | null = null;
  #stderr = "";
  #isOver = false;

  /** `running`: a POSIX shell that reads its standard input. */
  constructor(running: RunningProgram & { stdin: Writable }) {
    this.#running = running;
    running.stdout.on("data", (chunk: Buffer) => this.#take(chunk));
    running.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_BYTES);
    });
    void running.closed.then((end) => {
      this.#isOver = true;
      const lost = end instanceof Error ? end : new HostReadError("UNREADABLE", NAME, `The shell ended. ${this.#stderr.trim()}`.trim());
      this.#turn?.ended.reject(lost);
    });
  }

  /** Whether a script can be run now. */
  get isFree(): boolean {
    return !this.#isOver && this.#turn === null;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Runs it in a shell of its own, without input. Throws TIMEOUT, UNREADABLE for too much output, and what lost the shell. */
  async run(script: string, { timeoutMs, maxBytes }: ScriptLimits): Promise<ScriptResult> {
    const mark = `--${randomBytes(16).toString("hex")}`;
    const turn: Turn = { mark: Buffer.from(`\n${mark}\n`), maxBytes, output: [], length: 0, ended: Promise.withResolvers() };
    this.#turn = turn;
    this.#stderr = "";
    const late = () => turn.ended.reject(new HostReadError("TIMEOUT", NAME, `${NAME} did not end within ${timeoutMs / 1000} s.`));
    const timer = setTimeout(late, timeoutMs);
    // The mark in two parts: a shell that echoes what it reads must not end the turn.
    this.#running.stdin.write(`(\n${script}\n)\nprintf '\\n%s%s\\n' '--' '${mark.slice(2)}'\n`);
    try {
      await turn.ended.promise;
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#turn = null;
    }
    return { stdout: Buffer.concat(turn.output).subarray(0, -turn.mark.length).toString("utf8"), stderr: this.#stderr };
  }

  close(): void {
    this.#isOver = true;
    this.#running.kill(true);
  }

  #take(chunk: Buffer): void {
    const turn = this.#turn;
    if (turn === null) return;
    turn.output.push(chunk);
    turn.length += chunk.length;
    if (turn.length > turn.maxBytes) {
      turn.ended.reject(new HostReadError("UNREADABLE", NAME, `${NAME} wrote more than ${turn.maxBytes} bytes.`));
      return;
    }
    if (chunk.length < turn.mark.length && turn.output.length > 1) turn.output = [Buffer.concat(turn.output)];
    if (turn.output.at(-1)?.subarray(-turn.mark.length).equals(turn.mark)) turn.ended.resolve();
  }
}
