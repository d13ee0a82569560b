import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./until.ts";

const KEPT_CHARACTERS = 1_000_000;

/** A guest under emulation, run by QEMU itself: its serial line is here as text. For tests of the guest, not of a hypervisor's management. */
export class DirectQemu implements AsyncDisposable {
  readonly exited: Promise<void>;
  #output = "";
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(child: ChildProcess, directory: string) {
    this.#child = child;
    this.#directory = directory;
    const keep = (text: string) => {
      this.#output = (this.#output + text).slice(-KEPT_CHARACTERS);
    };
    child.stdout?.setEncoding("utf8").on("data", keep);
    child.stderr?.setEncoding("utf8").on("data", keep);
    this.exited = once(child, "exit").then(() => undefined);
  }

  /** `args` is QEMU's command line but for the accelerator and the consoles; "-M" first. */
  static async start(args: string[]): Promise<DirectQemu> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-qemu-"));
    const own = ["-accel", "tcg", "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"];
    const qmp = ["-qmp", `unix:${join(directory, "qmp")},server=on,wait=off`];
    return new DirectQemu(spawn("qemu-system-x86_64", [...args, ...own, ...qmp], { stdio: "pipe" }), directory);
  }

  /** What the guest, or QEMU, said so far. */
  get output(): string {
    return this.#output;
  }

  async waitFor(text: string, timeoutMs = 30_000): Promise<void> {
    await until(
      () => {
        if (this.#output.includes(text)) return true;
        if (this.#child.exitCode !== null) throw new Error(`QEMU ended before "${text}":\n${this.#output}`);
        return false;
      },
      `"${text}" on the serial line`,
      timeoutMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.#output.slice(-2_000)}`);
    });
  }

  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Presses the power button. */
  async powerDown(): Promise<void> {
    const socket = connect(join(this.#directory, "qmp"));
    try {
      await reply(socket, '"QMP"');
      for (const command of ["qmp_capabilities", "system_powerdown"]) {
        socket.write(`${JSON.stringify({ execute: command })}\n`);
        await reply(socket, '"return"');
      }
    } finally {
      socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.exited;
    await rm(this.#directory, { recursive: true, force: true });
  }
}

async function reply(socket: Socket, text: string): Promise<void> {
  let said = "";
  const signal = AbortSignal.timeout(10_000);
  while (!said.includes(text)) {
    const [data] = (await once(socket, "data", { signal })) as [Buffer];
    said += data.toString();
  }
}
