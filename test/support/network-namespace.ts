import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A second host on this machine: a network namespace of its own, joined to this one by a veth pair. Needs root and iproute2. */
export class NetworkNamespace {
  readonly name: string;
  /** This machine's address on the link. */
  readonly hostAddress: string;
  /** The namespace's address on the link. */
  readonly address: string;
  private readonly link: string;

  private constructor(name: string, hostAddress: string, address: string) {
    this.name = name;
    this.hostAddress = hostAddress;
    this.address = address;
    this.link = `v${name}`;
  }

  /** The address by which the namespace with this index will reach this machine: known before there is one. */
  static hostAddressOf(index: number): string {
    return addressOf(index, 1);
  }

  /** `index` (0–99) keeps several apart; the name carries the pid, so that concurrent runs do not meet. */
  static async create(index: number): Promise<NetworkNamespace> {
    const name = `fg${process.pid}x${index}`;
    const namespace = new NetworkNamespace(name, NetworkNamespace.hostAddressOf(index), addressOf(index, 2));
    await ip("netns", "add", name);
    try {
      await ip("link", "add", namespace.link, "type", "veth", "peer", "name", "eth0", "netns", name);
      await ip("addr", "add", `${namespace.hostAddress}/30`, "dev", namespace.link);
      await ip("link", "set", namespace.link, "up");
      await ip("-n", name, "addr", "add", `${namespace.address}/30`, "dev", "eth0");
      await ip("-n", name, "link", "set", "eth0", "up");
      await ip("-n", name, "link", "set", "lo", "up");
      await ip("-n", name, "route", "add", "default", "via", namespace.hostAddress);
    } catch (error) {
      await namespace.remove();
      throw error;
    }
    return namespace;
  }

  /** The words that run a command in here. */
  get prefix(): string[] {
    return ["ip", "netns", "exec", this.name];
  }

  /** A cable of their own between two hosts: each reaches the other's address without this machine in between. */
  async connect(other: NetworkNamespace): Promise<void> {
    const [here, there] = [`to${other.name}`.slice(0, 15), `to${this.name}`.slice(0, 15)];
    await ip("-n", this.name, "link", "add", here, "type", "veth", "peer", "name", there, "netns", other.name);
    await ip("-n", this.name, "link", "set", here, "up");
    await ip("-n", other.name, "link", "set", there, "up");
    await ip("-n", this.name, "route", "add", `${other.address}/32`, "dev", here, "src", this.address);
    await ip("-n", other.name, "route", "add", `${this.address}/32`, "dev", there, "src", other.address);
  }

  /** Pulls the cable to this machine: packets vanish, sockets stay as they are. */
  async cut(): Promise<void> {
    await ip("link", "set", this.link, "down");
  }

  async mend(): Promise<void> {
    await ip("link", "set", this.link, "up");
    await ip("-n", this.name, "route", "replace", "default", "via", this.hostAddress);
  }

  async remove(): Promise<void> {
    await ip("link", "del", this.link).catch(() => {});
    await ip("netns", "del", this.name).catch(() => {});
  }
}

async function ip(...args: string[]): Promise<void> {
  await run("ip", args, { timeout: 10_000 });
}

function addressOf(index: number, host: number): string {
  return `10.${213 + Math.floor(index / 50)}.${process.pid % 250}.${(index % 50) * 4 + host}`;
}
