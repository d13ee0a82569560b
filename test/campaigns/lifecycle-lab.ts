import { join } from "node:path";
import { Deployment } from "../support/deployment.ts";
import type { FleetHost } from "../support/fleet-host.ts";
import { copyTinyGuest } from "../support/fleet-host.ts";
import { TestHost } from "../support/host.ts";
import { NATS_URL } from "../support/peer-addresses.ts";
import { type TemporaryDatabases, temporaryDatabases } from "../support/temporary-databases.ts";
import type { Ask } from "./lifecycle.ts";

/** A deployment on PostgreSQL and NATS whose agent runs instances on a host of the test's own, and what can be killed of it. */
export class LifecycleLab implements AsyncDisposable {
  readonly deployment: Deployment;
  readonly host: FleetHost;
  readonly #databases: TemporaryDatabases<string>;

  private constructor(deployment: Deployment, host: FleetHost, databases: TemporaryDatabases<string>) {
    this.deployment = deployment;
    this.host = host;
    this.#databases = databases;
  }

  static async start(): Promise<LifecycleLab> {
    const machine = await TestHost.start(0);
    const databases = await temporaryDatabases(["clusters", "nodes", "compute"] as const);
    const instanceDirectory = join(machine.libvirt.directory, "instances");
    const deployment = await Deployment.create({
      databases: databases.urls,
      nats: NATS_URL,
      // Hosts of many small guests.
      environment: { FLEETGRAPH_PLACEMENT_CPU_OVERCOMMIT: "32" },
      agentFlags: ["--libvirt", machine.libvirtUri, "--container-socket", machine.containerSocket],
      agentEnvironment: { FLEETGRAPH_AGENT_IMAGE_DIR: machine.imageDirectory, FLEETGRAPH_AGENT_INSTANCE_DIR: instanceDirectory },
    });
    const { agent } = deployment.parts;
    const lab = new LifecycleLab(deployment, { host: machine, agent, hostname: "", nodeId: "", instanceDirectory }, databases);
    try {
      await copyTinyGuest(machine.imageDirectory);
      await machine.podman.importBusyboxImage();
      await deployment.start();
      lab.host.nodeId = await lab.#nodeThatRuns();
    } catch (error) {
      await lab.stop();
      throw error;
    }
    return lab;
  }

  get ask(): Ask {
    return (query, variables) => this.deployment.query(query, variables, 15_000);
  }

  get victims(): Record<string, { kill(): Promise<void>; start(): Promise<void> }> {
    const { agent, compute } = this.deployment.parts;
    const { libvirt, podman } = this.host.host;
    const part = (one: typeof agent) => ({ kill: () => one.kill(), start: async () => one.spawn() });
    return { agent: part(agent), compute: part(compute), libvirtd: libvirt, podman };
  }

  async stop(options: { keepLogs?: boolean } = {}): Promise<void> {
    await this.deployment.stop(options);
    await this.host.host.stop();
    await this.#databases.drop();
  }

  /** Of a campaign: its logs stay. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop({ keepLogs: true });
  }

  async #nodeThatRuns(): Promise<string> {
    const deadline = performance.now() + 60_000;
    while (performance.now() < deadline) {
      const { data } = await this.ask("{ nodes { nodes { id supportedInstanceTypes } } }", {});
      type Nodes = { nodes: { nodes: Array<{ id: string; supportedInstanceTypes: string[] }> } };
      const node = (data as Nodes | null | undefined)?.nodes.nodes.find(({ supportedInstanceTypes: types }) => types.length === 3);
      if (node) return node.id;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    throw new Error(`the agent's node did not support all types; logs in ${this.deployment.directory}`);
  }
}
