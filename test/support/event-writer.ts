import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { WriteOrder, WriterArguments } from "./event-writer-process.ts";

const SCRIPT = fileURLToPath(new URL("./event-writer-process.ts", import.meta.url));

/** A replica in a process of its own; ends with this process at the latest. */
export class EventWriter {
  readonly #child: ChildProcess;
  readonly #ready: Promise<unknown>;
  readonly exited: Promise<NodeJS.Signals | null>;

  constructor(writer: WriterArguments) {
    this.#child = spawn(process.execPath, [SCRIPT, JSON.stringify(writer)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.exited = once(this.#child, "exit").then(([, signal]) => signal as NodeJS.Signals | null);
    this.#ready = this.#message();
    this.#ready.catch(() => undefined);
  }

  /** Resolves when all is committed and announced; rejects when the process dies before. */
  async write(order: WriteOrder): Promise<void> {
    await this.#ready;
    const done = this.#message();
    this.#child.send(order);
    await done;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #message(): Promise<unknown> {
    const gone = this.exited.then((signal) => Promise.reject(new Error(`The writer ended (${signal}).`)));
    return Promise.race([once(this.#child, "message"), gone]);
  }
}
