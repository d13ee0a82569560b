import { write } from "node:fs";
import { userInfo } from "node:os";
import { promisify } from "node:util";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { pause } from "../control-plane/backoff.ts";
import type { InstanceTerminal, TerminalSize } from "../drivers/console-driver.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import { waitAtMost } from "../libvirt/wait.ts";
import { endSession } from "./process-session.ts";
import { PushedOutput } from "./pushed-output.ts";

/** What node-pty has of a terminal, as far as it is used here. Its own way to write takes no account of a program that does not read. */
interface Pty {
  readonly pid: number;
  readonly fd: number;
  pause(): void;
  resume(): void;
  resize(columns: number, rows: number): void;
  destroy(): void;
  /** The descriptor is about to be another one's. */
  on(event: "close", listener: () => void): unknown;
  onData(listener: (data: Buffer) => void): unknown;
  onExit(listener: () => void): unknown;
}

const TERM = "xterm-256color";
const PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/** Until a program that does not read is offered its input again. */
const RETRY_MS = 20;
/** From the end of the last process until that is known here. */
const EXIT_MS = 2000;

const writeTo = promisify(write);

/** A login shell of the agent's own user, in its home, with nothing of the agent's environment. FAILED_PRECONDITION ShellUnavailable. */
export async function openShell({ columns, rows }: TerminalSize): Promise<InstanceTerminal> {
  const { username, homedir, shell } = userInfo();
  const file = shell || "/bin/sh";
  const env = { HOME: homedir, USER: username, LOGNAME: username, SHELL: file, PATH: PATHS, LANG: "C.UTF-8" };
  try {
    // Loaded where it is needed: an agent goes without it on a system that it was not built for.
    const { spawn } = await import("node-pty");
    const pty = spawn(file, ["-l"], { name: TERM, cols: columns, rows, cwd: homedir, env, encoding: null });
    return new ShellTerminal(pty as unknown as Pty);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FleetError("FAILED_PRECONDITION", `A shell cannot be started on this host: ${why}`, { reason: "ShellUnavailable", cause });
  }
}

class ShellTerminal implements InstanceTerminal {
  readonly kind = "SHELL";
  readonly resizable = true;
  readonly takesInput = true;
  readonly mayWait = true;
  readonly migrated = false;
  readonly run: string;
  readonly #pty: Pty;
  readonly #output: PushedOutput;
  /** Nothing more is written. */
  readonly #ended = new AbortController();
  readonly #exited = Promise.withResolvers<void>();
  #hangUp: Promise<void> | null = null;

  constructor(pty: Pty) {
    this.#pty = pty;
    this.run = String(pty.pid);
    this.#output = new PushedOutput({ pause: () => pty.pause(), resume: () => pty.resume() });
    pty.onData((data) => this.#output.push(data));
    pty.on("close", () => this.#ended.abort());
    pty.onExit(() => {
      this.#ended.abort();
      this.#output.end();
      this.#exited.resolve();
      void this.#endAll();
    });
  }

  get over(): boolean {
    return this.#ended.signal.aborted;
  }

  async write(data: Uint8Array): Promise<void> {
    const { signal } = this.#ended;
    for (let at = 0; at < data.length && !signal.aborted; ) {
      try {
        const { bytesWritten } = await writeTo(this.#pty.fd, data, at, data.length - at, null);
        at += bytesWritten;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw overAlready();
        await pause(RETRY_MS, signal);
      }
    }
    if (signal.aborted) throw overAlready();
  }

  async resize({ columns, rows }: TerminalSize): Promise<void> {
    if (!this.#ended.signal.aborted) this.#pty.resize(columns, rows);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#output[Symbol.asyncIterator]();
  }

  /** Whatever runs in it ends with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    this.#output.end();
    await this.#endAll();
    await waitAtMost(this.#exited.promise, EXIT_MS, undefined, overAlready).catch(() => this.#pty.destroy());
  }

  #endAll(): Promise<void> {
    this.#hangUp ??= endSession(this.#pty.pid);
    return this.#hangUp;
  }
}

function overAlready(): FleetError {
  return precondition("ConsoleEnded", "The shell has ended.", { ended: "STOPPED" });
}
