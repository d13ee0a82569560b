import type { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { richGuestFiles } from "./rich-guest-cache.ts";
import { NVME, type RichGuestFiles } from "./rich-guest-machine.ts";
import type { Monitor, MonitorEvent } from "./rich-guest-monitor.ts";
import { RichGuestProcess } from "./rich-guest-process.ts";
import { RichGuestShell, type RichGuestUser, type RunOptions } from "./rich-guest-shell.ts";

export interface RichGuestOptions {
  /** Boots it, which takes half a minute and more, rather than going on with the machine that was saved. */
  boot?: boolean;
  /** With the NVMe disk of `plugNvme`; a guest that booted has it anyhow. */
  nvme?: boolean;
}

/** For the hook that starts one: the first time on a machine it is built, which takes minutes. */
export const RICH_GUEST_START_MS = 15 * 60_000;

/**
 * A real Debian machine under emulation, reached by SSH, with hardware to look at: test/fixtures/rich-guest/README.md. It goes on from a
 * saved state, so that it is there within seconds, and forgets at its end what was written to it. Several may run at once; they are alike
 * up to the machine id and the host key. Needs root and the peer "rich-guest".
 */
export class RichGuest implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly sshPort: number;
  /** False where it was booted. */
  readonly restored: boolean;
  /** Users that may log in by password as well as by `identityFile`; root by key only. */
  readonly passwords: Record<RichGuestUser, string>;
  readonly #qemu: RichGuestProcess;
  readonly #shell: RichGuestShell;

  private constructor(qemu: RichGuestProcess, shell: RichGuestShell, restored: boolean, passwords: Record<RichGuestUser, string>) {
    this.#qemu = qemu;
    this.#shell = shell;
    this.sshPort = shell.port;
    this.restored = restored;
    this.passwords = passwords;
  }

  static async start({ boot = false, nvme = false }: RichGuestOptions = {}): Promise<RichGuest> {
    const files = await richGuestFiles();
    const { qemu, restored } = await startProcess(files, boot);
    await using started = new AsyncDisposableStack();
    started.use(qemu);
    const shell = started.use(await RichGuestShell.open(files, await qemu.sshPort()));
    const guest = new RichGuest(qemu, shell, restored, JSON.parse(await readFile(join(files.directory, "passwords.json"), "utf8")));
    try {
      if (restored) await guest.setClock();
      else await guest.waitUntilUp();
      if (restored && nvme) await guest.plugNvme();
    } catch (error) {
      throw new Error(qemu.problem(`did not start: ${(error as Error).message}`), { cause: error });
    }
    started.move();
    return guest;
  }

  /** "ssh-ed25519 AAAA…" */
  get hostKey(): string {
    return this.#shell.hostKey;
  }

  /** Holds its host key, and no other. */
  get knownHostsFile(): string {
    return this.#shell.knownHostsFile;
  }

  /** The private key that lets in as root and as fleet; the public one is beside it, with .pub. */
  get identityFile(): string {
    return this.#shell.identityFile;
  }

  /** What `ssh` needs to come in: options, then USER@HOST. */
  clientArguments(user: RichGuestUser = "root"): string[] {
    return this.#shell.clientArguments(user);
  }

  /** What a shell command prints, run as root where no user is said. Throws where it fails. */
  run(command: string, options: RunOptions = {}): Promise<string> {
    return this.#shell.run(command, options);
  }

  /** A command that goes on, such as `udevadm monitor`: its standard streams are pipes. It is the caller's to kill. */
  spawn(command: string, user: RichGuestUser = "root"): ChildProcess {
    return this.#shell.spawn(command, user);
  }

  /** A command of QEMU's monitor; args as in QEMU's QMP reference. */
  qmp(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    return this.#qemu.monitor.execute(command, args);
  }

  /** Of QEMU's monitor so far: RESET, DEVICE_DELETED, NIC_RX_FILTER_CHANGED, … */
  get events(): MonitorEvent[] {
    return this.#qemu.monitor.events;
  }

  /** The agent inside, which answers also where the network is cut. */
  get inside(): Monitor {
    return this.#qemu.inside;
  }

  /** What the guest wrote to its serial line. */
  get console(): string {
    return this.#qemu.console;
  }

  /** False once QEMU has ended: the guest was powered off. */
  get running(): boolean {
    return this.#qemu.running;
  }

  /** Unplugs (false) or plugs (true) the network card that SSH comes by: packets vanish, connections stay as they are. */
  async setManagementLink(up: boolean): Promise<void> {
    await this.qmp("set_link", { name: "management-nic", up });
  }

  /** The same of the e1000e, which nothing uses. */
  async setLabLink(up: boolean): Promise<void> {
    await this.qmp("set_link", { name: "lab-nic", up });
  }

  /**
   * Plugs an NVMe disk of 64 MiB with SMART data and two SR-IOV functions into nvme-port: QEMU cannot save one. It is nvme0 and nvme0n1 in
   * the guest, and "nvme" to `qmp`: device_del takes it out again.
   */
  async plugNvme(): Promise<void> {
    await this.qmp("device_add", NVME);
    await this.run("for _ in $(seq 300); do test -b /dev/nvme0n1 && exit; sleep 0.1; done; exit 1");
  }

  /** How often it was reset by itself: reboots that have ended what ran before. */
  get resets(): number {
    return this.events.filter(({ event, data }) => event === "RESET" && data["guest"] === true).length;
  }

  /** Until it lets in again after `systemctl reboot`; what shuts down may still let in, so look at `resets` first. */
  waitUntilUp(timeoutMs?: number): Promise<void> {
    return this.#shell.waitUntilUp(timeoutMs);
  }

  /** A machine that goes on from a saved state has the time of its saving. */
  private async setClock(): Promise<void> {
    await this.inside.execute("guest-set-time", { time: Date.now() * 1_000_000 });
  }

  async stop(): Promise<void> {
    await this.#shell[Symbol.asyncDispose]();
    await this.#qemu[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** From the saved state; by a boot where the state does not fit this machine. */
async function startProcess(files: RichGuestFiles, boot: boolean): Promise<{ qemu: RichGuestProcess; restored: boolean }> {
  if (!boot) {
    const qemu = await RichGuestProcess.start({ files, how: "restore" }).catch(() => null);
    if (qemu !== null) return { qemu, restored: true };
  }
  return { qemu: await RichGuestProcess.start({ files, how: "boot" }), restored: false };
}
