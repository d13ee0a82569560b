import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RichGuestFiles } from "./rich-guest-machine.ts";
import { until } from "./until.ts";

const run = promisify(execFile);

/** On a busy machine sshd takes seconds to greet. */
const GREETING_MS = 15_000;

export type RichGuestUser = "root" | "fleet";

export interface RunOptions {
  /** root where it is not said. */
  user?: RichGuestUser;
  /** 60 s where it is not said. */
  timeoutMs?: number;
}

/** SSH into a rich guest. */
export class RichGuestShell implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  /** The private key that lets in as root and as fleet. */
  readonly identityFile: string;
  /** "ssh-ed25519 AAAA…" */
  readonly hostKey: string;
  /** Holds its host key, and no other. */
  readonly knownHostsFile: string;
  readonly #directory: string;

  private constructor(files: RichGuestFiles, port: number, directory: string, hostKey: string) {
    this.port = port;
    this.hostKey = hostKey;
    this.identityFile = join(files.directory, "identity");
    this.knownHostsFile = join(directory, "known_hosts");
    this.#directory = directory;
  }

  static async open(files: RichGuestFiles, port: number): Promise<RichGuestShell> {
    const [type, key] = (await readFile(join(files.directory, "host_key.pub"), "utf8")).split(" ");
    const directory = await mkdtemp(join(tmpdir(), "fg-rich-ssh-"));
    const shell = new RichGuestShell(files, port, directory, `${type} ${key?.trim()}`);
    await writeFile(shell.knownHostsFile, `[${shell.host}]:${port} ${shell.hostKey}\n`);
    return shell;
  }

  /** What `ssh` needs to come in, without asking anything and without the caller's own settings. */
  clientArguments(user: RichGuestUser = "root"): string[] {
    return [
      ...["-F", "none", "-i", this.identityFile, "-p", String(this.port)],
      ...["-o", `UserKnownHostsFile=${this.knownHostsFile}`, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"],
      ...["-o", "BatchMode=yes", `${user}@${this.host}`],
    ];
  }

  /** What the command prints. Throws, with what it said, where it fails or takes too long. */
  async run(command: string, { user = "root", timeoutMs = 60_000 }: RunOptions = {}): Promise<string> {
    const args = [...this.#shared(user), ...this.clientArguments(user), command];
    const { stdout } = await run("ssh", args, { timeout: timeoutMs, maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  }

  /** A command that goes on, such as `udevadm monitor`: its standard streams are pipes. It is the caller's to kill. */
  spawn(command: string, user: RichGuestUser = "root"): ChildProcess {
    return spawn("ssh", [...this.#shared(user), ...this.clientArguments(user), command], { stdio: "pipe" });
  }

  /** Until the guest lets in, after a boot or a reboot. */
  async waitUntilUp(timeoutMs = 180_000): Promise<void> {
    await this.#disconnect();
    const end = performance.now() + timeoutMs;
    await until(() => greets(this.host, this.port), "the guest's sshd", timeoutMs);
    await until(
      () =>
        this.run("true", { timeoutMs: 30_000 }).then(
          () => true,
          () => false,
        ),
      "the guest to let in",
      Math.max(0, end - performance.now()),
    );
  }

  async close(): Promise<void> {
    await this.#disconnect();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disconnect();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** One connection for all commands of a user: a handshake takes a second under emulation. */
  #shared(user: RichGuestUser): string[] {
    return ["-o", "ControlMaster=auto", "-o", `ControlPath=${join(this.#directory, user)}`, "-o", "ControlPersist=60"];
  }

  async #disconnect(): Promise<void> {
    for (const user of ["root", "fleet"] as const) {
      await run("ssh", [...this.#shared(user), "-O", "exit", ...this.clientArguments(user)], { timeout: 10_000 }).catch(() => {});
    }
  }
}

function greets(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: GREETING_MS });
    const settle = (greeted: boolean) => {
      socket.destroy();
      resolve(greeted);
    };
    socket.once("data", (data) => settle(data.toString().startsWith("SSH-")));
    socket
      .once("timeout", () => settle(false))
      .once("error", () => settle(false))
      .once("close", () => settle(false));
  });
}
