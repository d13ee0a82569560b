import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MachineOptions, machineArguments } from "./rich-guest-machine.ts";
import { Monitor } from "./rich-guest-monitor.ts";
import { until } from "./until.ts";

const MIGRATION_MS = 120_000;

/** A QEMU that runs the rich guest's machine, with connections to its monitor and to its agent inside. */
export class RichGuestProcess implements AsyncDisposable {
  readonly directory: string;
  readonly #child: ChildProcess;
  #said = "";
  #monitor: Monitor | null = null;
  #inside: Monitor | null = null;

  private constructor(directory: string, child: ChildProcess) {
    this.directory = directory;
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-4_000);
    });
  }

  static async start(options: Omit<MachineOptions, "directory">): Promise<RichGuestProcess> {
    const directory = await mkdtemp(join(tmpdir(), "fg-rich-"));
    const args = machineArguments({ ...options, directory });
    // It ends with the test, even one that is killed.
    const command = ["--pdeathsig", "KILL", "qemu-system-x86_64", ...args];
    const qemu = new RichGuestProcess(directory, spawn("setpriv", command, { stdio: ["ignore", "ignore", "pipe"] }));
    try {
      await qemu.#connect();
      if (options.how === "restore") await qemu.#restore(options.files.state);
      return qemu;
    } catch (error) {
      await qemu[Symbol.asyncDispose]();
      throw new Error(qemu.problem(`did not start: ${(error as Error).message}`), { cause: error });
    }
  }

  /** QMP. */
  get monitor(): Monitor {
    if (this.#monitor === null) throw new Error(this.problem("has no monitor"));
    return this.#monitor;
  }

  /** The agent inside: guest-set-time, guest-exec and so on. It answers also where the network is cut. */
  get inside(): Monitor {
    if (this.#inside === null) throw new Error(this.problem("has no agent inside"));
    return this.#inside;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What the guest wrote to its serial line: the kernel's and systemd's messages. */
  get console(): string {
    try {
      return readFileSync(join(this.directory, "console.log"), "utf8");
    } catch {
      return "";
    }
  }

  /** A message that says what went wrong and what QEMU and the guest said last. */
  problem(what: string): string {
    return `The rich guest ${what}.\nQEMU: ${this.#said}\nconsole: ${this.console.slice(-2_000)}`;
  }

  /** On this machine. */
  async sshPort(): Promise<number> {
    const table = (await this.monitor.execute("human-monitor-command", { "command-line": "info usernet" })) as string;
    const port = /TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s/.exec(table)?.[1];
    if (port === undefined) throw new Error(this.problem(`forwards no port: ${table}`));
    return Number(port);
  }

  /** Stops the processors, writes what runs to `file` (but for the memory, which is a file already) and ends QEMU. */
  async save(file: string): Promise<void> {
    await this.monitor.execute("stop");
    await this.#ignoreSharedMemory();
    await this.monitor.execute("migrate", { uri: `exec:cat >'${file}'` });
    await this.#migrated();
    const exited = once(this.#child, "exit", { signal: AbortSignal.timeout(MIGRATION_MS) });
    await this.monitor.execute("quit");
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.running && this.#child.pid !== undefined) {
      const exited = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await exited;
    }
    this.#monitor?.close();
    this.#inside?.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #connect(): Promise<void> {
    await once(this.#child, "spawn");
    await until(async () => {
      if (!this.running) throw new Error(this.problem("ended at once"));
      this.#monitor ??= await Monitor.open(join(this.directory, "qmp")).catch(() => null);
      return this.#monitor !== null;
    }, "QEMU's monitor");
    await this.monitor.execute("qmp_capabilities");
    this.#inside = await Monitor.open(join(this.directory, "qga"));
  }

  async #restore(file: string): Promise<void> {
    await this.#unplugNvme();
    await this.#ignoreSharedMemory();
    await this.monitor.execute("migrate-incoming", { uri: `exec:cat '${file}'` });
    await this.#migrated();
    await this.monitor.execute("cont");
  }

  /** No machine with an NVMe controller can be saved or restored. A reset makes the unplugging take place without the guest's consent. */
  async #unplugNvme(): Promise<void> {
    await this.monitor.execute("device_del", { id: "nvme" });
    await this.monitor.execute("system_reset");
    await until(() => this.monitor.events.some(({ event, data }) => event === "DEVICE_DELETED" && data["device"] === "nvme"), "its end");
  }

  async #ignoreSharedMemory(): Promise<void> {
    await this.monitor.execute("migrate-set-capabilities", { capabilities: [{ capability: "x-ignore-shared", state: true }] });
  }

  async #migrated(): Promise<void> {
    await until(
      async () => {
        const { status, ...rest } = (await this.monitor.execute("query-migrate")) as { status?: string };
        if (status === "failed" || status === "cancelled")
          throw new Error(this.problem(`was not saved or restored: ${JSON.stringify(rest)}`));
        return status === "completed";
      },
      "the machine's state",
      MIGRATION_MS,
    );
  }
}
