import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LibvirtDaemon } from "./libvirt-daemon.ts";
import { NetworkNamespace } from "./network-namespace.ts";
import { PodmanService } from "./podman-service.ts";
import { SshServer } from "./ssh-server.ts";

export interface TestHostOptions {
  /** False: a host without libvirt. */
  libvirt?: boolean;
  /** False: a host without containers. */
  containers?: boolean;
  /** Whether it takes SSH; its /run/libvirt is then this host's. */
  ssh?: boolean;
  /** host:port of registries that speak plain HTTP. */
  insecureRegistries?: string[];
}

/**
 * One simulated machine among several: a network of its own with what runs virtual machines and containers there. An agent is started
 * against it with `namespace.prefix` and the sockets. Files are this machine's, the same paths everywhere. Needs the peers
 * network-namespaces, libvirt, podman and sshd, as far as they are asked for.
 */
export class TestHost implements AsyncDisposable {
  readonly namespace: NetworkNamespace;
  #libvirt: LibvirtDaemon | null = null;
  #podman: PodmanService | null = null;
  #ssh: SshServer | null = null;

  private constructor(namespace: NetworkNamespace) {
    this.namespace = namespace;
  }

  /** `index` (0–99) keeps several apart. */
  static async start(index: number, options: TestHostOptions = {}): Promise<TestHost> {
    const namespace = await NetworkNamespace.create(index);
    const host = new TestHost(namespace);
    try {
      await host.#start(options);
    } catch (error) {
      await host.stop();
      throw error;
    }
    return host;
  }

  /** Its daemon, which may be killed and started again. */
  get libvirt(): LibvirtDaemon {
    return asked(this.#libvirt, "libvirt");
  }

  get hasContainers(): boolean {
    return this.#podman !== null;
  }

  get podman(): PodmanService {
    return asked(this.#podman, "containers");
  }

  get ssh(): SshServer {
    return asked(this.#ssh, "SSH");
  }

  get libvirtUri(): string {
    return this.libvirt.uri();
  }

  get libvirtSocket(): string {
    return this.libvirt.socketPath;
  }

  /** The path of a socket that speaks Docker's API. */
  get containerSocket(): string {
    return this.podman.socketPath;
  }

  /** An empty folder for the images of its virtual machines; it vanishes with the host. */
  get imageDirectory(): string {
    return join(this.libvirt.directory, "images");
  }

  /** Ends what runs on it, guests and containers included. */
  async stop(): Promise<void> {
    // First the sessions, which libvirtd would take for its own.
    await this.#ssh?.stop();
    await Promise.all([this.#podman?.stop(), this.#libvirt?.close()]);
    await this.namespace.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start({ libvirt = true, containers = true, ssh = false, insecureRegistries }: TestHostOptions): Promise<void> {
    const { namespace } = this;
    const startLibvirt = async () => {
      this.#libvirt = await LibvirtDaemon.start({ namespace });
      await mkdir(this.imageDirectory);
    };
    const startPodman = async () => {
      this.#podman = await PodmanService.start({ namespace, insecureRegistries });
    };
    // One that fails must not leave the other behind.
    const started = await Promise.allSettled([libvirt && startLibvirt(), containers && startPodman()]);
    for (const result of started) if (result.status === "rejected") throw result.reason;
    if (ssh) this.#ssh = await SshServer.start({ namespace, ...(this.#libvirt === null ? {} : { mountNamespaceOf: this.#libvirt.pid }) });
  }
}

function asked<T>(part: T | null, name: string): T {
  if (part === null) throw new Error(`This host was started without ${name}.`);
  return part;
}
