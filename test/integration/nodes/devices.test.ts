import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { systemContext } from "../../../platform/request-context.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  InventoryPart,
  PciDevice,
  PciInventory,
  UsbDevice,
  UsbInventory,
} from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { graphqlRefusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { OperatedFleet } from "../../support/operated-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB, disks: [{ name: "root", sizeBytes: GIB, type: "", boot: true }] };
const NIC = "0000:01:00.0";
const DEVICES =
  "query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Instance { devices { kind pciAddress usbPort state plugged model node { id } unavailable { field reason } } } } }";
const RESERVATIONS =
  "query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Node { pciDevices { address reservation { note reservedBy } } usbDevices { port reservation { note } } } } }";

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`devices of nodes over ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let fleet: OperatedFleet;
    let agent: RecordedAgent;
    let nodeId = "";
    let nodes = 0;
    let [first, second] = ["", ""];

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      fleet = await OperatedFleet.open(plane);
      await fleet.start();
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());
    beforeEach(async () => {
      nodes += 1;
      nodeId = `node-d${nodes}`;
      agent = await plane.node(nodeId);
      await until(() => fleet.replica.services.inventory.presence(nodeId).state === "present", "the node to be known");
      const operator = await plane.client();
      const make = async () =>
        (await operator.createInstance({ name: "guest", type: InstanceType.VM, spec: VM, preferredNodeId: nodeId })).id;
      [first, second] = await Promise.all([make(), make()]);
      for (const id of [first, second]) await plane.untilState(id, "RUNNING");
    });
    afterEach(async () => {
      await agent.kill();
      plane.agents.cluster.delete(nodeId);
    });

    /** Its agent tells what it has, and whose the network card is. */
    const report = async (user = "", observedAt = new Date()) => {
      const identity = { kind: "agent", agentId: agent.agentId } as const;
      const ctx = { ...systemContext("test", new AbortController().signal, plane.agents.log), identity };
      const nic = PciDevice.fromPartial({ address: NIC, user: user === "" ? undefined : { instanceId: user, guestName: user } });
      const base = {
        nodeId,
        observedAt,
        hardware: undefined,
        host: undefined,
        network: undefined,
        disks: undefined,
        accelerators: undefined,
      };
      const pci = PciInventory.fromPartial({ devices: [nic] });
      const usb = UsbInventory.fromPartial({ devices: [UsbDevice.fromPartial({ port: "1-2", bus: 1, device: 3 })] });
      const digest = (part: string) => createHash("sha256").update(part).digest("hex");
      const { inventoryReports } = fleet.replica.services;
      await inventoryReports.report(ctx, { ...base, part: InventoryPart.PCI, digest: digest(`p${user}`), pci, usb: undefined } as never);
      await inventoryReports.report(ctx, { ...base, part: InventoryPart.USB, digest: digest("u"), usb, pci: undefined } as never);
    };
    const change = (name: string, input: object, role: "operator" | "admin" | "viewer" = "operator", selection = "__typename") =>
      fleet.change(name, { ...input }, role, selection);
    const attach = (instanceId: string, input: object = { pciAddress: NIC }, role: "operator" | "admin" | "viewer" = "operator") =>
      change("attachDevice", { instanceId, ...input }, role, "device { state plugged model }");
    const devicesOf = async (id: string) =>
      (await fleet.ask("viewer", DEVICES, { reps: [{ __typename: "Instance", id }] }))._entities[0].devices;

    test("a device is attached to one instance, shown with it, and detached", async () => {
      expect(graphqlRefusal(await attach(first, undefined, "viewer"))).toMatchObject({ code: "FORBIDDEN" });
      expect(graphqlRefusal(await attach(first, {}))).toMatchObject({ code: "INVALID_ARGUMENT" });
      expect(graphqlRefusal(await attach(first, { pciAddress: "eth0" }))).toMatchObject({ code: "INVALID_ARGUMENT" });
      expect((await attach(first)).data).toEqual({ attachDevice: { device: { state: "ATTACHED", plugged: true, model: "Intel 82574L" } } });
      expect((await attach(first, { usbPort: "1-2", vendorId: 0x46f4 })).errors).toBeUndefined();
      expect(graphqlRefusal(await attach(second))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "InUse", usedBy: first });
      const shown = { state: "ATTACHED", plugged: true, model: "Intel 82574L", node: { id: nodeId }, unavailable: [] };
      expect(await devicesOf(first)).toEqual([
        { kind: "PCI", pciAddress: NIC, usbPort: null, ...shown },
        { kind: "USB", pciAddress: null, usbPort: "1-2", ...shown },
      ]);
      expect(await devicesOf(second)).toEqual([]);
      expect((await change("detachDevice", { instanceId: first, pciAddress: NIC })).errors).toBeUndefined();
      expect((await change("detachDevice", { instanceId: first, pciAddress: NIC })).errors).toBeUndefined();
      expect((await attach(second)).errors).toBeUndefined();
      expect(agent.devices.attached.get(first)).toMatchObject([{ device: { usb: { port: "1-2", vendorId: 0x46f4 } } }]);
    });

    test("what the agent refuses is not kept; an answer that got lost is, and the same call goes on", async () => {
      agent.devices.refuses = new FleetError("FAILED_PRECONDITION", "It holds /.", { reason: "RootDisk" });
      expect(graphqlRefusal(await attach(first))).toMatchObject({ reason: "RootDisk" });
      expect(await devicesOf(first)).toEqual([]);
      agent.devices.refuses = null;
      agent.devices.losesAnswers = true;
      expect(graphqlRefusal(await attach(first))).toMatchObject({ code: "UNAVAILABLE" });
      expect(await devicesOf(first)).toMatchObject([{ state: "ATTACHING" }]);
      expect(graphqlRefusal(await attach(second))).toMatchObject({ reason: "InUse" });
      agent.devices.losesAnswers = false;
      expect((await attach(first)).errors).toBeUndefined();
      agent.devices.refuses = new FleetError("FAILED_PRECONDITION", "It holds on.", { reason: "DeviceBusy" });
      expect(graphqlRefusal(await change("detachDevice", { instanceId: first, pciAddress: NIC }))).toMatchObject({ reason: "DeviceBusy" });
      expect(await devicesOf(first)).toMatchObject([{ state: "ATTACHED" }]);
    });

    test("an assignment that is not so any more is settled by what the host says", async () => {
      await attach(first);
      const { settling } = fleet.replica.services.devices;
      const ctx = systemContext("test", new AbortController().signal, plane.agents.log);
      // The instance's domain lost it by somebody's hand.
      agent.devices.attached.clear();
      expect((await attach(second)).errors).toBeUndefined();
      expect(await devicesOf(first)).toEqual([]);
      await report(second, new Date(Date.now() + 1000));
      agent.devices.attached.clear();
      await settling.round(ctx, -1000);
      expect(await devicesOf(second)).toHaveLength(1);
      await report("inst-other", new Date(Date.now() + 2000));
      await settling.round(ctx, -1000);
      expect(await devicesOf(second)).toEqual([]);
    });

    test("a reserved device is its maker's and admins'; virtual functions of it, too", async () => {
      expect(graphqlRefusal(await change("reserveDevice", { nodeId, pciAddress: NIC }))).toMatchObject({ reason: "NotReportedYet" });
      await report();
      expect(graphqlRefusal(await change("reserveDevice", { nodeId, pciAddress: "0000:09:00.0" }))).toMatchObject({ code: "NOT_FOUND" });
      expect((await change("reserveDevice", { nodeId, pciAddress: NIC, note: "for the lab" }, "admin")).errors).toBeUndefined();
      expect((await change("reserveDevice", { nodeId, usbPort: "1-2" })).errors).toBeUndefined();
      const [seen] = (await fleet.ask("viewer", RESERVATIONS, { reps: [{ __typename: "Node", id: nodeId }] }))._entities;
      expect(seen).toEqual({
        pciDevices: [{ address: NIC, reservation: { note: "for the lab", reservedBy: "a admin" } }],
        usbDevices: [{ port: "1-2", reservation: { note: null } }],
      });
      const refused = { reason: "DeviceReserved", reservedBy: "a admin", note: "for the lab" };
      expect(graphqlRefusal(await attach(first))).toMatchObject(refused);
      expect(graphqlRefusal(await change("setSriovVfs", { nodeId, pciAddress: NIC, count: 2 }))).toMatchObject(refused);
      expect(graphqlRefusal(await change("releaseDevice", { nodeId, pciAddress: NIC }))).toMatchObject(refused);
      expect((await attach(first, undefined, "admin")).errors).toBeUndefined();
      expect((await change("releaseDevice", { nodeId, pciAddress: NIC }, "admin", "released")).data).toEqual({
        releaseDevice: { released: true },
      });
      const { data } = await change("setSriovVfs", { nodeId, pciAddress: NIC, count: 2 }, "operator", "sriov { totalVfs enabledVfs }");
      expect(data).toEqual({ setSriovVfs: { sriov: { totalVfs: 4, enabledVfs: 2 } } });
    });

    test("a host that does not answer leaves what is known, with the reason", async () => {
      await attach(first);
      await agent.kill();
      const [device] = await devicesOf(first);
      expect(device).toMatchObject({ state: "ATTACHED", plugged: null, model: null });
      expect(device.unavailable.map(({ field }: { field: string }) => field)).toEqual(["model", "plugged"]);
      expect(graphqlRefusal(await change("detachDevice", { instanceId: first, pciAddress: NIC }))).toMatchObject({ code: "UNAVAILABLE" });
      expect(await devicesOf(first)).toMatchObject([{ state: "DETACHING" }]);
    });
  });
}
