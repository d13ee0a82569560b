import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import type { NetworkNamespace } from "./network-namespace.ts";
import { until } from "./until.ts";

export interface LibvirtDaemonOptions {
  /** Where its networks and migrations stay; without it they are this machine's. */
  namespace?: NetworkNamespace;
  /** For libvirtd.conf. */
  settings?: Record<string, string | number>;
}

/** What libvirt keeps where, by the name of our own directory for it. */
const PLACES = {
  etc: "/etc/libvirt",
  run: "/run/libvirt",
  lib: "/var/lib/libvirt",
  log: "/var/log/libvirt",
  cache: "/var/cache/libvirt",
};

/**
 * What libvirt found out about each QEMU on this machine. Asking one takes it 4 s, so all daemons share the answers, outside the clone;
 * libvirt itself drops those of another QEMU, libvirt or kernel.
 */
const QEMU_ANSWERS = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "fleetgraph", "libvirt-capabilities");

/**
 * A libvirtd of the test's own, which it may kill and start again with the state that it had. It sees directories of its own where libvirt
 * keeps things, so that several run side by side and none meets the system's. Needs root, libvirtd and QEMU.
 */
export class LibvirtDaemon {
  /** Holds everything of it; the same path inside and outside. Images and test files may be put here. */
  readonly directory: string;
  /** In its own mount namespace also at the usual place, /run/libvirt/libvirt-sock. */
  readonly socketPath: string;
  readonly hostUuid = randomUUID();
  readonly #options: LibvirtDaemonOptions;
  /**
   * The mount namespaces that it had, by number: whatever runs in one of them was started by it, or in it. They are held open, because
   * the kernel gives the number of one that is gone to the next.
   */
  readonly #namespaces = new Map<number, number>();
  #child: ChildProcess | null = null;
  #said = "";

  private constructor(options: LibvirtDaemonOptions) {
    this.#options = options;
    // The path of a UNIX socket has 107 bytes at most.
    this.directory = mkdtempSync(join(tmpdir(), "fg-libvirt-"));
    this.socketPath = join(this.directory, "run", "libvirt-sock");
    for (const name of Object.keys(PLACES)) mkdirSync(join(this.directory, name));
    mkdirSync(QEMU_ANSWERS, { recursive: true });
    mkdirSync(join(this.directory, "cache", "qemu", "capabilities"), { recursive: true });
    this.#writeConfiguration();
  }

  static async start(options: LibvirtDaemonOptions = {}): Promise<LibvirtDaemon> {
    const daemon = new LibvirtDaemon(options);
    try {
      await daemon.start();
    } catch (error) {
      await daemon.close();
      throw error;
    }
    return daemon;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("This libvirtd does not run.");
    return pid;
  }

  /** False also where it ended by itself. */
  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** A URI that leads to this daemon: of QEMU, or of what follows "DRIVER://". */
  uri(name = "qemu:///system"): string {
    return `${name.replace("://", "+unix://")}?socket=${this.socketPath}`;
  }

  /** Of the daemon, up to now. */
  get log(): string {
    try {
      return readFileSync(join(this.directory, "libvirtd.log"), "utf8");
    } catch {
      return "";
    }
  }

  /** A file that the daemon can read; gives its path. */
  async writeFile(name: string, content: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, content);
    return path;
  }

  async start(): Promise<void> {
    const binds = Object.entries(PLACES).map(([name, place]) => `mkdir -p ${place} && mount --bind ${join(this.directory, name)} ${place}`);
    binds.push(`mount --bind "${QEMU_ANSWERS}" /var/cache/libvirt/qemu/capabilities`);
    const script = `set -e; ${binds.join("; ")}; exec libvirtd --config /etc/libvirt/libvirtd.conf --pid-file ${this.directory}/libvirtd.pid`;
    const command = ["unshare", "--mount", "sh", "-c", script];
    const [program = "", ...args] = [...(this.#options.namespace?.prefix ?? []), ...command];
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin`, HOME: this.directory },
    });
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-4000);
    });
    await until(
      () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`libvirtd ended: ${this.#said}${this.log.slice(-2000)}`);
        return listens(this.socketPath);
      },
      "libvirtd",
      30_000,
    );
    this.#remember(this.pid);
  }

  /** SIGKILL: guests go on, and `start` finds them again. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** SIGTERM: guests go on, and `start` finds them again. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Stops the process where it is: its sockets stay open and nothing answers. */
  freeze(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  thaw(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** Ends it and everything that it started, and removes what it kept. */
  async close(): Promise<void> {
    await this.kill();
    await until(() => this.#killLeftovers() === 0, "the end of what libvirtd started");
    for (const descriptor of this.#namespaces.values()) closeSync(descriptor);
    this.#namespaces.clear();
    rmSync(this.directory, { recursive: true, force: true });
  }

  #remember(pid: number): void {
    // One that has just ended has none any more.
    if (mountNamespace(pid) === null) return;
    const descriptor = openSync(`/proc/${pid}/ns/mnt`, "r");
    const { ino } = fstatSync(descriptor);
    if (this.#namespaces.has(ino) || ino === mountNamespace(process.pid)) closeSync(descriptor);
    else this.#namespaces.set(ino, descriptor);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#remember(child.pid);
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** How many there were. */
  #killLeftovers(): number {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const left = pids.filter((pid) => {
      const namespace = mountNamespace(Number(pid));
      return namespace !== null && this.#namespaces.has(namespace);
    });
    for (const pid of left) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    return left.length;
  }

  #writeConfiguration(): void {
    const settings = {
      unix_sock_dir: join(this.directory, "run"),
      auth_unix_rw: "none",
      host_uuid: this.hostUuid,
      log_outputs: `3:file:${this.directory}/libvirtd.log`,
      ...this.#options.settings,
    };
    const daemon = Object.entries(settings).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    const qemu = [
      'user = "root"',
      'group = "root"',
      "dynamic_ownership = 0",
      "remember_owner = 0",
      'security_driver = "none"',
      'stdio_handler = "file"',
      // QEMU stays in the daemon's mount namespace, by which it is found at the end.
      "namespaces = []",
    ];
    writeFileSync(join(this.directory, "etc", "libvirtd.conf"), `${daemon.join("\n")}\n`);
    writeFileSync(join(this.directory, "etc", "qemu.conf"), `${qemu.join("\n")}\n`);
  }
}

function mountNamespace(pid: number): number | null {
  try {
    return statSync(`/proc/${pid}/ns/mnt`).ino;
  } catch {
    return null;
  }
}

function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
