import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { NetworkNamespace } from "../network-namespace.ts";

const STOP_MS = 5_000;

/** A server program that a test started, which ends with the test, even one that is killed. */
export class ServerProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  #said = "";

  constructor(program: string, args: string[], namespace: NetworkNamespace | null) {
    const command = [...(namespace?.prefix ?? []), "setpriv", "--pdeathsig", "KILL", program, ...args];
    this.#name = program.slice(program.lastIndexOf("/") + 1);
    this.#child = spawn(command[0] as string, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#said = (this.#said + text).slice(-8_000);
      });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** A message with what the program said last. */
  problem(what: string): string {
    return `${this.#name} ${what}: ${this.#said}`;
  }

  /** For loops that wait for it. */
  mustRun(): void {
    if (!this.running) throw new Error(this.problem("ended"));
  }

  /** Ends it without warning. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Lets it end its work; after 5 s it is killed. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS);
    await this.#end("SIGTERM").finally(() => clearTimeout(timer));
  }

  /** Its sockets stay open and take connections, and nothing answers. */
  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (!this.running) return;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
  }
}

/** A port of 127.0.0.1 that nobody had a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("No port.");
  return address.port;
}
