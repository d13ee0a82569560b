import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, mkdirSync, type WriteStream } from "node:fs";
import { createServer } from "node:net";
import { FLEETGRAPH } from "./built-program.ts";

export interface PartOptions {
  name: string;
  /** The command line behind `fleetgraph`. */
  args: string[];
  environment?: Record<string, string>;
  /** Where its output is kept, one file per part. */
  logDirectory: string;
  /** True once it serves. Asked every 50 ms. */
  ready: () => Promise<boolean>;
  /** Run through another command, such as `ip netns exec NAME`. */
  prefix?: string[];
}

/** One process of a deployment: started, killed without warning, started again. */
export class Part {
  private child: ChildProcess | null = null;
  private exited: Promise<void> = Promise.resolve();
  private readonly log: WriteStream;

  private readonly options: PartOptions;

  constructor(options: PartOptions) {
    this.options = options;
    mkdirSync(options.logDirectory, { recursive: true });
    this.log = createWriteStream(`${options.logDirectory}/${options.name}.log`, { flags: "a" });
  }

  get name(): string {
    return this.options.name;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Starts the process and returns at once. */
  spawn(): void {
    const [command, ...args] = [...(this.options.prefix ?? []), process.execPath, FLEETGRAPH, ...this.options.args];
    const child = spawn(command as string, args, {
      env: { ...process.env, FLEETGRAPH_LOG_LEVEL: "info", ...this.options.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.pipe(this.log, { end: false });
    child.stderr.pipe(this.log, { end: false });
    this.child = child;
    this.exited = new Promise((resolve) => child.once("exit", () => resolve()));
  }

  /** Starts the process and waits until it serves. */
  async start(timeoutMs = 30_000): Promise<void> {
    this.spawn();
    await this.waitReady(timeoutMs);
  }

  async waitReady(timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!(await this.options.ready().catch(() => false))) {
      if (this.child?.exitCode !== null && this.child?.exitCode !== undefined) {
        throw new Error(`${this.name} ended with ${this.child.exitCode}; see ${this.log.path}`);
      }
      if (performance.now() > deadline) throw new Error(`${this.name} was not ready within ${timeoutMs} ms; see ${this.log.path}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** SIGKILL: no goodbye. Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.child?.kill("SIGKILL");
    await this.exited;
  }

  /** SIGTERM, then SIGKILL after `graceMs`. */
  async stop(graceMs = 10_000): Promise<void> {
    this.child?.kill("SIGTERM");
    const timer = setTimeout(() => this.child?.kill("SIGKILL"), graceMs);
    await this.exited;
    clearTimeout(timer);
    this.log.end();
  }
}

/** Below the range from which the system gives connections their own ports: a part that is started again finds its port free. */
const FIRST_PORT = 15_000;
const PORTS = 15_000;

/** Ports that were free a moment ago, on every address. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let attempt = 0; ports.size < count && attempt < count + 100; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}
