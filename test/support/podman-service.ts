import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { NetworkNamespace } from "./network-namespace.ts";
import { until } from "./until.ts";

const run = promisify(execFile);
/** Far above what any of its commands takes here. */
const COMMAND_TIMEOUT_MS = 60_000;

export interface PodmanOptions {
  /** The service, its containers and their bridges live in there. Without one, containers should have network none or host. */
  namespace?: NetworkNamespace;
  /** host:port of registries that speak plain HTTP. */
  insecureRegistries?: string[];
}

/** A podman of the test's own behind Docker's API: own images, containers, networks and settings, all in one temporary directory. Needs root. */
export class PodmanService implements AsyncDisposable {
  readonly socketPath: string;
  readonly #directory: string;
  readonly #options: PodmanOptions;
  /** Keeps the mount namespace while the service is down; ends with this process. */
  #keeper: ChildProcess | null = null;
  #child: ChildProcess | null = null;
  #said = "";

  private constructor(directory: string, options: PodmanOptions) {
    this.#directory = directory;
    this.#options = options;
    this.socketPath = join(directory, "podman.sock");
  }

  static async start(options: PodmanOptions = {}): Promise<PodmanService> {
    const service = new PodmanService(await mkdtemp(join(tmpdir(), "fleetgraph-podman-")), options);
    try {
      await service.#writeSettings();
      await service.#makeMountNamespace();
      await service.start();
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  /** As DOCKER_HOST takes it. */
  get address(): string {
    return `unix://${this.socketPath}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** After a kill: the same images and containers. */
  async start(): Promise<void> {
    const [command, ...args] = this.#command(["system", "service", "--time", "0", this.address]);
    const child = spawn(command as string, args, { env: this.#environment(), stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-4_000);
    });
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`podman ended: ${this.#said}`);
      return answers(this.socketPath);
    }, "podman's socket");
  }

  /** Ends the service without warning. Containers go on running. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }
    // A dead service's socket must not look alive to the next start.
    await rm(this.socketPath, { force: true });
  }

  /** podman's own command line on the same images and containers. Gives what it printed. */
  async podman(...args: string[]): Promise<string> {
    const [command, ...rest] = this.#command(args);
    return (await run(command as string, rest, { env: this.#environment(), timeout: COMMAND_TIMEOUT_MS })).stdout;
  }

  /** An image of busybox, made here: `name` such as "localhost/busybox:latest". Its command is a shell that sleeps until it is stopped. */
  async importBusyboxImage(name = "localhost/busybox:latest"): Promise<void> {
    const root = join(this.#directory, "busybox-root");
    const archive = join(this.#directory, "busybox.tar");
    for (const folder of ["bin", "etc", "tmp", "root", "proc", "sys", "dev"]) await mkdir(join(root, folder), { recursive: true });
    await writeFile(join(root, "bin/busybox"), await readFile("/bin/busybox"), { mode: 0o755 });
    const { stdout } = await run("/bin/busybox", ["--list"]);
    for (const applet of stdout.split("\n").filter((word) => word !== "" && word !== "busybox")) {
      await symlink("busybox", join(root, "bin", applet));
    }
    await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n");
    await writeFile(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
    await run("tar", ["--numeric-owner", "--owner=0", "--group=0", "-C", root, "-cf", archive, "."]);
    const command = 'CMD ["/bin/sh","-c","trap exit TERM INT; while true; do sleep 1 & wait $!; done"]';
    await this.podman("import", "--quiet", "--change", "ENV PATH=/bin", "--change", command, archive, name);
    await rm(root, { recursive: true });
    await rm(archive);
  }

  /** Removes all containers and the whole directory. */
  async stop(): Promise<void> {
    await this.kill();
    await this.podman("rm", "--all", "--force", "--time", "0").catch(() => {});
    const keeper = this.#keeper;
    this.#keeper = null;
    if (keeper !== null && keeper.exitCode === null) {
      const exited = once(keeper, "exit");
      keeper.stdin?.end();
      await exited;
    }
    // What cleans up after the last containers may still be writing.
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #command(args: string[]): string[] {
    const own = (name: string) => join(this.#directory, name);
    const { namespace } = this.#options;
    const network = namespace === undefined ? [] : [`--net=/run/netns/${namespace.name}`];
    const prefix = ["nsenter", `--mount=/proc/${this.#keeper?.pid}/ns/mnt`, ...network];
    const storage = ["--root", own("root"), "--runroot", own("run"), "--tmpdir", own("tmp"), "--storage-driver", "overlay"];
    return [...prefix, "podman", "--log-level", "error", ...storage, "--runtime", "runc", ...args];
  }

  #environment(): NodeJS.ProcessEnv {
    const own = (name: string) => join(this.#directory, name);
    return {
      ...process.env,
      PATH: `${process.env.PATH}:/usr/sbin:/sbin`,
      CONTAINERS_CONF: own("containers.conf"),
      CONTAINERS_REGISTRIES_CONF: own("registries.conf"),
      REGISTRY_AUTH_FILE: own("auth.json"),
    };
  }

  /**
   * netavark keeps the addresses it gave and its name server's settings in one folder, whatever podman is told: each service has its
   * own folder there. The layers that it mounts vanish with the namespace.
   */
  async #makeMountNamespace(): Promise<void> {
    const script = 'mkdir -p /run/containers/networks && mount --bind "$1" /run/containers/networks && echo ready && exec cat';
    const folder = join(this.#directory, "network-state");
    await mkdir(folder);
    const keeper = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, "sh", folder], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#keeper = keeper;
    await Promise.race([once(keeper.stdout, "data"), once(keeper, "exit")]);
    if (keeper.exitCode !== null) throw new Error("A private mount namespace needs root.");
  }

  async #writeSettings(): Promise<void> {
    const own = (name: string) => JSON.stringify(join(this.#directory, name));
    const containers = [
      "[engine]",
      'cgroup_manager = "cgroupfs"',
      'events_logger = "file"',
      // The default, shared memory, has one name for all podmans of a machine.
      'lock_type = "file"',
      `tmp_dir = ${own("tmp")}`,
      `network_cmd_path = "/usr/bin/slirp4netns"`,
      "[network]",
      'network_backend = "netavark"',
      `network_config_dir = ${own("networks")}`,
      "[containers]",
      'log_driver = "k8s-file"',
      // Without them podman asks for more than a limited machine allows.
      'default_ulimits = ["nofile=10000:10000", "nproc=9000:9000"]',
    ];
    const registries = (this.#options.insecureRegistries ?? []).map(
      (address) => `[[registry]]\nlocation = "${address}"\ninsecure = true\n`,
    );
    await mkdir(join(this.#directory, "networks"));
    await writeFile(join(this.#directory, "containers.conf"), `${containers.join("\n")}\n`);
    // Nobody is logged in, whatever the home directory says.
    await writeFile(join(this.#directory, "auth.json"), "{}");
    await writeFile(join(this.#directory, "registries.conf"), `unqualified-search-registries = []\n${registries.join("")}`);
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
