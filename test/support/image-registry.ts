import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePorts } from "./part.ts";
import type { PodmanService } from "./podman-service.ts";
import { until } from "./until.ts";

const run = promisify(execFile);

export interface RegistryOptions {
  /** By which address it is reached; hosts in namespaces of their own reach it by their NetworkNamespace's hostAddress. */
  host?: string;
  /** Where it listens: at that address, or "0.0.0.0" where the address is not there yet. */
  listen?: string;
  /** With them, it lets nobody else in. */
  credentials?: { username: string; password: string };
}

/** A registry of container images that speaks plain HTTP: a PodmanService pulls from it with its address in insecureRegistries. */
export class ImageRegistry implements AsyncDisposable {
  /** host:port, the beginning of its images' names. */
  readonly address: string;
  readonly #directory: string;
  readonly #options: RegistryOptions;
  #child: ChildProcess | null = null;

  private constructor(address: string, directory: string, options: RegistryOptions) {
    this.address = address;
    this.#directory = directory;
    this.#options = options;
  }

  static async start(options: RegistryOptions = {}): Promise<ImageRegistry> {
    const [port] = await freePorts(1);
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-registry-"));
    const registry = new ImageRegistry(`${options.host ?? "127.0.0.1"}:${port}`, directory, options);
    try {
      await registry.#writeSettings();
      await registry.#spawn();
    } catch (error) {
      await registry.stop();
      throw error;
    }
    return registry;
  }

  /** Copies an image of `podman` to here. `name` such as "busybox:1"; gives the name by which it is pulled. */
  async push(podman: PodmanService, image: string, name: string): Promise<string> {
    const { credentials } = this.#options;
    const creds = credentials === undefined ? [] : ["--creds", `${credentials.username}:${credentials.password}`];
    const target = `${this.address}/${name}`;
    await podman.podman("push", "--quiet", "--tls-verify=false", ...creds, image, `docker://${target}`);
    return target;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #local(): string {
    const { listen } = this.#options;
    return listen === undefined ? this.address : `${listen}:${this.address.split(":").at(-1)}`;
  }

  async #writeSettings(): Promise<void> {
    const { credentials } = this.#options;
    const settings = {
      version: "0.1",
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: join(this.#directory, "images") } },
      // Without a secret of its own it makes one and warns.
      http: { addr: this.#local, secret: randomBytes(16).toString("hex") },
      ...(credentials === undefined ? {} : { auth: { htpasswd: { realm: "fleetgraph", path: join(this.#directory, "htpasswd") } } }),
    };
    if (credentials !== undefined) {
      const line = `${credentials.username}:${await bcrypt(credentials.password)}\n`;
      await writeFile(join(this.#directory, "htpasswd"), line, { mode: 0o600 });
    }
    // YAML reads JSON.
    await writeFile(join(this.#directory, "config.yml"), JSON.stringify(settings));
  }

  async #spawn(): Promise<void> {
    const child = spawn("docker-registry", ["serve", join(this.#directory, "config.yml")], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let said = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`docker-registry ended: ${said}`);
      // 401 is an answer too.
      return fetch(`http://${this.#local.replace("0.0.0.0", "127.0.0.1")}/v2/`).then(
        (response) => response.body?.cancel().then(() => true) ?? true,
        () => false,
      );
    }, "docker-registry");
  }
}

/** The registry takes nothing else. Debian's crypt(3) makes it, and perl, which every Debian has, calls that. */
async function bcrypt(password: string): Promise<string> {
  const salt = `$2b$05$${randomBytes(32)
    .toString("base64")
    .replaceAll(/[^A-Za-z0-9]/g, "x")
    .slice(0, 21)}u`;
  const { stdout } = await run("perl", ["-e", "print crypt($ARGV[0], $ARGV[1])", password, salt]);
  if (!stdout.startsWith("$2b$")) throw new Error("crypt(3) knows no bcrypt");
  return stdout;
}
