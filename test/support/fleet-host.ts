import { execFile } from "node:child_process";
import { copyFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { stringify } from "yaml";
import { TestHost, type TestHostOptions } from "./host.ts";
import { Part } from "./part.ts";
import { tinyGuest } from "./tiny-guest.ts";

const run = promisify(execFile);

/** What a host's agent joins. */
export interface ControlPlane {
  readonly directory: string;
  /** On every address of this machine. */
  readonly controlPort: number;
  joinToken(controlAddress: string): Promise<string>;
  // biome-ignore lint/suspicious/noExplicitAny: each test names what it asks for
  query(query: string): Promise<any>;
}

/** More of an agent's settings, as in its file. */
export type AgentSettings = (host: TestHost, index: number) => Record<string, unknown>;

/** A host with its agent, which stands for one node. */
export interface FleetHost {
  host: TestHost;
  agent: Part;
  hostname: string;
  nodeId: string;
  /** Where its agent keeps the disks of instances. */
  instanceDirectory: string;
}

/**
 * Starts a simulated machine and its agent, and waits until the node can run instances. Its images: `tiny` (a disk that boots by BIOS),
 * `tiny-kernel` and `tiny-initrd`; the container image localhost/busybox:latest.
 */
export async function startFleetHost(
  control: ControlPlane,
  index: number,
  options: TestHostOptions,
  more?: AgentSettings,
): Promise<FleetHost> {
  const host = await TestHost.start(index, options);
  const hostname = `host-${index + 1}`;
  const instanceDirectory = join(control.directory, `${hostname}-instances`);
  const imageDir = options.libvirt === false ? join(control.directory, `${hostname}-images`) : host.imageDirectory;
  const file = join(control.directory, `${hostname}.yaml`);
  const types = (options.libvirt === false ? 0 : 2) + (options.containers === false ? 0 : 1);
  const fleetHost: FleetHost = {
    host,
    hostname,
    instanceDirectory,
    nodeId: "",
    agent: agentPart(control, { file, hostname, host, types }),
  };
  try {
    if (options.libvirt !== false) await copyTinyGuest(imageDir);
    if (options.containers !== false) await host.podman.importBusyboxImage();
    const settings = {
      dataDir: join(control.directory, hostname),
      agent: {
        hostname,
        host: host.namespace.address,
        joinToken: await control.joinToken(`${host.namespace.hostAddress}:${control.controlPort}`),
        libvirtUri: options.libvirt === false ? "none" : host.libvirtUri,
        containerSocket: options.containers === false ? "none" : host.containerSocket,
        imageDir,
        instanceDir: instanceDirectory,
        ...more?.(host, index),
      },
    };
    await writeFile(file, stringify(settings), { mode: 0o600 });
    await fleetHost.agent.start(60_000);
    fleetHost.nodeId = (await readNode(control, hostname))?.id ?? "";
  } catch (error) {
    await stopFleetHost(fleetHost);
    throw error;
  }
  return fleetHost;
}

export async function stopFleetHost({ agent, host }: FleetHost): Promise<void> {
  await agent.stop();
  await host.stop();
}

interface PartOfHost {
  file: string;
  hostname: string;
  host: TestHost;
  /** How many instance types it must support. */
  types: number;
}

function agentPart(control: ControlPlane, { file, hostname, host, types }: PartOfHost): Part {
  return new Part({
    name: hostname,
    args: ["agent", "--config", file],
    logDirectory: control.directory,
    ready: async () => {
      const node = await readNode(control, hostname);
      return node?.status === "READY" && node.supportedInstanceTypes.length === types;
    },
    prefix: host.namespace.prefix,
  });
}

interface NodeAnswer {
  id: string;
  status: string;
  supportedInstanceTypes: string[];
}

async function readNode(control: ControlPlane, hostname: string): Promise<NodeAnswer | undefined> {
  const { nodes } = await control.query(`{ nodes(filter: { name: "${hostname}" }) { nodes { id status supportedInstanceTypes } } }`);
  return nodes.nodes[0];
}

/** Puts the guest into a folder of images, as `tiny.qcow2`, `tiny-kernel` and `tiny-initrd`. */
export async function copyTinyGuest(directory: string): Promise<void> {
  const guest = await tinyGuest();
  await copyFile(guest.kernel, join(directory, "tiny-kernel"));
  await copyFile(guest.initrd, join(directory, "tiny-initrd"));
  await copyFile(guest.bootDisk, join(directory, "tiny.qcow2"));
}

/** What virsh, podman and the folder of disks know of: the truth of a host. Names of instances, sorted. */
export async function hostTruth(fleetHost: FleetHost): Promise<Record<"domains" | "containers" | "files" | "filters", string[]>> {
  const { host, instanceDirectory } = fleetHost;
  const [domains, filters, containers, files] = await Promise.all([
    virsh(fleetHost, "list", "--all", "--name"),
    virsh(fleetHost, "nwfilter-list").catch(() => ""),
    host.hasContainers ? host.podman.podman("ps", "--all", "--format", "{{.Names}}") : "",
    readdir(instanceDirectory).catch(() => []),
  ]);
  const lines = (text: string) => text.split("\n").filter((line) => line.trim() !== "");
  return {
    domains: lines(domains).sort(),
    containers: lines(containers).sort(),
    files: [...files].sort(),
    filters: lines(filters).filter((line) => line.includes("fleetgraph-inst-")),
  };
}

/** What virsh prints about a host. */
export async function virsh({ host }: FleetHost, ...args: string[]): Promise<string> {
  return (await run("virsh", ["-c", host.libvirtUri, ...args], { timeout: 30_000 })).stdout;
}
