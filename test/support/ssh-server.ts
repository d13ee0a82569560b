import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { NetworkNamespace } from "./network-namespace.ts";
import { freePorts } from "./part.ts";
import { until } from "./until.ts";

const run = promisify(execFile);
const SSHD = "/usr/sbin/sshd";

export interface SshServerOptions {
  /** It listens there, on the namespace's address; otherwise on `address`. */
  namespace?: NetworkNamespace;
  /** Of this machine; 127.0.0.1 by default. */
  address?: string;
  /** A process whose files its sessions see: with a private libvirtd's, /run/libvirt is that daemon's. */
  mountNamespaceOf?: number;
  /** Lines of sshd_config that come before its own. */
  settings?: string[];
  /** Lets the user in by this password, too; the machine's own accounts are not touched. */
  password?: string;
}

/** An sshd of the test's own: own host key, port and settings, and one key that opens it. Needs root. */
export class SshServer implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  readonly user = userInfo().username;
  /** The private key that it lets in. */
  readonly identityFile: string;
  /** Holds its host key, and no other. */
  readonly knownHostsFile: string;
  /** "ssh-ed25519 AAAA…" */
  readonly hostKey: string;
  readonly #directory: string;
  readonly #prefix: string[];
  #child: ChildProcess | null = null;
  #hasPassword = false;

  private constructor(directory: string, address: string, port: number, hostKey: string, prefix: string[]) {
    this.#directory = directory;
    this.address = address;
    this.port = port;
    this.hostKey = hostKey;
    this.#prefix = prefix;
    this.identityFile = join(directory, "identity");
    this.knownHostsFile = join(directory, "known_hosts");
  }

  static async start({
    namespace,
    address: own = "127.0.0.1",
    mountNamespaceOf,
    settings = [],
    password,
  }: SshServerOptions = {}): Promise<SshServer> {
    const [port] = (await freePorts(1)) as [number];
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-sshd-"));
    const namespaces = [
      ...(mountNamespaceOf === undefined ? [] : [`--mount=/proc/${mountNamespaceOf}/ns/mnt`]),
      ...(namespace === undefined ? [] : [`--net=/run/netns/${namespace.name}`]),
    ];
    try {
      const address = namespace?.address ?? own;
      const [hostKey] = await Promise.all([makeKey(directory, "host_key"), makeKey(directory, "identity")]);
      const server = new SshServer(directory, address, port, hostKey, namespaces.length === 0 ? [] : ["nsenter", ...namespaces]);
      if (password === undefined) await server.#writeSettings(settings);
      else {
        await server.#writePassword(password);
        await server.#writeSettings(["PasswordAuthentication yes", "PermitRootLogin yes", ...settings]);
      }
      await server.start();
      return server;
    } catch (error) {
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** What `ssh` needs to come in, without asking anything and without the caller's own settings. */
  get clientArguments(): string[] {
    return [
      ...["-F", "none", "-i", this.identityFile, "-p", String(this.port)],
      ...["-o", `UserKnownHostsFile=${this.knownHostsFile}`, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"],
      ...["-o", "BatchMode=yes", `${this.user}@${this.address}`],
    ];
  }

  /** After a kill: with the same keys on the same port. */
  async start(): Promise<void> {
    // Where it locks itself up before a client has authenticated; a booted system makes it.
    await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
    const sshd = [SSHD, "-D", "-e", "-f", join(this.#directory, "sshd_config")];
    const [command, ...args] = [...this.#prefix, ...(this.#hasPassword ? this.#withOwnShadow(sshd) : sshd)];
    const child = spawn(command as string, args, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    await until(() => {
      if (child.exitCode !== null) throw new Error(`sshd ended: ${said}`);
      return greets(this.address, this.port);
    }, "sshd");
  }

  /** Ends the server and all sessions without a goodbye. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    const sessions = await descendants(child.pid);
    child.kill("SIGKILL");
    for (const pid of sessions) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await exited;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** Its /etc/shadow is a copy, which nobody else sees. */
  #withOwnShadow(sshd: string[]): string[] {
    const script = `mount --bind ${join(this.#directory, "shadow")} /etc/shadow && exec "$@"`;
    return ["unshare", "--mount", "sh", "-c", script, "sh", ...sshd];
  }

  async #writePassword(password: string): Promise<void> {
    const hashed = (await run("openssl", ["passwd", "-6", password])).stdout.trim();
    const lines = (await readFile("/etc/shadow", "utf8")).split("\n").filter((line) => !line.startsWith(`${this.user}:`));
    await writeFile(join(this.#directory, "shadow"), [`${this.user}:${hashed}:20000:0:99999:7:::`, ...lines].join("\n"), { mode: 0o600 });
    this.#hasPassword = true;
  }

  async #writeSettings(first: string[]): Promise<void> {
    const own = (name: string) => join(this.#directory, name);
    const settings = [
      ...first,
      `ListenAddress ${this.address}`,
      `Port ${this.port}`,
      `HostKey ${own("host_key")}`,
      `AuthorizedKeysFile ${own("identity.pub")}`,
      "PidFile none",
      // As of a shell within another: bash then leaves the account's own .bashrc alone, which may do anything.
      "SetEnv SHLVL=2",
      "UsePAM no",
      // A temporary directory is writable by others.
      "StrictModes no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin prohibit-password",
      "PrintMotd no",
      "PrintLastLog no",
      "UseDNS no",
      "MaxStartups 100",
      "Subsystem sftp internal-sftp",
    ];
    await writeFile(own("sshd_config"), `${settings.join("\n")}\n`);
    await writeFile(this.knownHostsFile, `[${this.address}]:${this.port} ${this.hostKey}\n`);
  }
}

/** Makes a key pair and gives its public half. */
async function makeKey(directory: string, name: string): Promise<string> {
  const file = join(directory, name);
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]);
  return (await readFile(`${file}.pub`, "utf8")).trim();
}

async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  const children = text
    .split(" ")
    .filter((word) => word !== "")
    .map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function greets(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (greeted: boolean) => {
      socket.destroy();
      resolve(greeted);
    };
    socket.once("data", (data) => settle(data.toString().startsWith("SSH-")));
    socket.once("error", () => settle(false)).once("close", () => settle(false));
  });
}
