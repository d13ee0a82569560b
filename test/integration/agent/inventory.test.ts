import "reflect-metadata";
import os from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { openCapturedHost } from "../../support/captured-host.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

let plane: AgentControlPlane;
let home: TestAgentHome;

beforeEach(async () => {
  plane = await AgentControlPlane.start();
  home = await TestAgentHome.create();
});

afterEach(async () => {
  await home[Symbol.asyncDispose]();
  await plane[Symbol.asyncDispose]();
});

describe("an agent's inventory", () => {
  const hardware = (of = plane) => of.reported(InventoryPart.HARDWARE);
  const isStored = (of = plane) => [...of.stored.keys()].some((key) => key.endsWith(InventoryPart.HARDWARE));

  it("is offered by its digest, and sent once", async () => {
    const agent = await home.start({ joinToken: plane.createToken() });
    await until(() => isStored());
    expect(hardware().map((report) => report.hardware === undefined)).toEqual([true, false]);
    expect(hardware()[1]?.hardware?.memory?.totalBytes).toBe(os.totalmem());
    expect(hardware()[1]?.digest).toBe(hardware()[0]?.digest);
    await agent.stop();
    await home.start();
    await until(() => hardware().length === 3);
    expect(hardware()[2]?.hardware).toBeUndefined();
  });

  it("comes part by part, each with what it names alone", async () => {
    await home.start({ joinToken: plane.createToken() });
    await until(() => plane.inventories.some(({ network }) => network !== undefined));
    const report = plane.inventories.find(({ network }) => network !== undefined);
    expect(report).toMatchObject({ part: InventoryPart.NETWORK, hardware: undefined, pci: undefined });
    expect(report?.network?.interfaces.map(({ name }) => name)).toContain("lo");
  });

  it("goes to where the control plane says", async () => {
    await using elsewhere = await AgentControlPlane.start();
    // One fleet has one CA: the other server must be of the same.
    elsewhere.ca = plane.ca;
    await elsewhere.unlisten();
    await elsewhere.listen();
    plane.endpoints = [{ service: "hypervisor.v1.InventoryService", address: elsewhere.address }];
    const agent = await home.start({ joinToken: plane.createToken() });
    for (const nodeId of agent.nodeIds) elsewhere.owners.set(nodeId, agent.agentId);
    await until(() => isStored(elsewhere));
    expect(plane.inventories).toEqual([]);
  });

  it("is that of the host that the node is", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    await home.start({ joinToken: plane.createToken(), host: captured.host });
    await until(() => isStored());
    expect(hardware().at(-1)?.hardware?.cpu).toMatchObject({ model: "Cortex-A72", architecture: "aarch64", sockets: 2 });
    expect(plane.registrations[0]?.capacity?.cpuCores).toBe(4);
  });
});
