import { describe, expect, it } from "vitest";
import { readInventory } from "../../../../agent/hardware/inventory.ts";
import { readHardwareUsage } from "../../../../agent/hardware/usage.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { HardwareInventory, HardwareUsage } from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { cpuList, hardwareView } from "../../../../subgraphs/nodes/services/inventory/hardware-view.ts";
import type { ContentOf } from "../../../../subgraphs/nodes/services/inventory/inventory-parts.ts";
import { openCapturedHost } from "../../../support/captured-host.ts";

const ALL = [
  "cpu.currentMhz",
  "memory.availableBytes",
  "memory.usedBytes",
  "memory.usedPercent",
  "memory.swapUsedBytes",
  "hugePages.free",
  "hugePages.used",
  "numa.memoryFreeBytes",
];

type Hardware = ContentOf<"HARDWARE">;

/** As the database gives it back. */
function hardwareOf(part: Parameters<typeof HardwareInventory.fromPartial>[0]): Hardware {
  return JSON.parse(JSON.stringify(HardwareInventory.fromPartial(part))) as Hardware;
}

describe("hardwareView", () => {
  it("joins what a two-socket host reported with what it says now", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const inventory = await readInventory(captured.host);
    const stored = { content: inventory.hardware as Hardware, observedAt: inventory.observedAt };
    const usage = { value: await readHardwareUsage(captured.host) };
    const view = hardwareView({ inventory: stored, missing: "", usage, volatileFields: ALL });
    expect(view.cpu.architecture).toBe("aarch64");
    expect(view.numa?.length).toBeGreaterThan(1);
    for (const node of view.numa ?? []) {
      expect(node.memoryFreeBytes).toBeLessThan(node.memoryTotalBytes ?? 0);
      expect(node.distances?.find(({ nodeId }) => nodeId === node.id)?.distance).toBe(10);
      expect(node.cpuList).toMatch(/^\d+-\d+/);
    }
    expect((view.memory.usedBytes ?? 0) + (view.memory.availableBytes ?? 0)).toBe(view.memory.totalBytes);
    expect(view.memory.usedPercent).toBeGreaterThan(0);
    expect(view.memory.usedPercent).toBeLessThan(100);
    expect(view.observedAt).toBe(inventory.observedAt);
  });

  it("leaves out what was not asked for, without a word about it", () => {
    const inventory = { content: hardwareOf({ memory: { totalBytes: 8 } }), observedAt: new Date(5) };
    const view = hardwareView({ inventory, missing: "", usage: null, volatileFields: [] });
    expect(view.memory).toMatchObject({ totalBytes: 8, usedBytes: null, usedPercent: null });
    expect(view.unavailable).toEqual([]);
  });

  it("gives each value that the agent could not be asked for its reason, in capitals", () => {
    const inventory = { content: hardwareOf({}), observedAt: new Date(5) };
    const refusal = new FleetError("UNAVAILABLE", "Silent.", { reason: "NodeOffline" });
    const view = hardwareView({ inventory, missing: "", usage: { refusal }, volatileFields: ["memory.usedBytes", "cpu.currentMhz"] });
    expect(view.unavailable).toEqual([
      { field: "memory.usedBytes", reason: "NODE_OFFLINE", message: "Silent." },
      { field: "cpu.currentMhz", reason: "NODE_OFFLINE", message: "Silent." },
    ]);
  });

  it("is all null, with the reason, where nothing was reported", () => {
    const view = hardwareView({ inventory: null, missing: "SIMULATED", usage: null, volatileFields: [] });
    expect([view.cpu.model, view.memory.totalBytes, view.numa, view.hugePages, view.virtualization.iommu, view.observedAt]).toEqual(
      Array(6).fill(null),
    );
    expect(new Set(view.unavailable.map(({ reason }) => reason))).toEqual(new Set(["SIMULATED"]));
    expect(view.unavailable.map(({ field }) => field)).toContain("numa");
  });

  it("tells a list that could not be read from an empty one", () => {
    const content = hardwareOf({
      numa: [
        { id: 0, cpus: [] },
        { id: 1, cpus: [] },
      ],
      cpu: { caches: [] },
      unavailable: [
        { field: "cpu.caches", reason: "NOT_PRESENT", message: "" },
        { field: "numa[1].cpus", reason: "UNREADABLE", message: "" },
      ],
    });
    const view = hardwareView({ inventory: { content, observedAt: new Date(0) }, missing: "", usage: null, volatileFields: [] });
    expect(view.cpu.caches).toBeNull();
    expect(view.hugePages).toEqual([]);
    expect(view.numa?.map(({ cpus, cpuList: text }) => [cpus, text])).toEqual([
      [[], ""],
      [null, null],
    ]);
  });

  it("passes on what the agent could not read, for the fields that were asked for", () => {
    const inventory = { content: hardwareOf({ numa: [{ id: 0 }] }), observedAt: new Date(0) };
    const usage = HardwareUsage.fromPartial({
      unavailable: [
        { field: "memory.usedBytes", reason: "UNREADABLE", message: "a" },
        { field: "numa[0].memoryFreeBytes", reason: "NOT_PRESENT", message: "b" },
        { field: "hugePages", reason: "NOT_SUPPORTED", message: "c" },
        { field: "cpu.currentMhz", reason: "NOT_PRESENT", message: "d" },
      ],
    });
    const fieldsOf = (volatileFields: string[]) =>
      hardwareView({ inventory, missing: "", usage: { value: usage }, volatileFields }).unavailable.map(
        ({ field, message }) => `${field} ${message}`,
      );
    expect(fieldsOf(["memory.usedPercent"])).toEqual(["memory.usedPercent a"]);
    expect(fieldsOf(["numa.memoryFreeBytes"])).toEqual(["numa[0].memoryFreeBytes b"]);
    expect(fieldsOf(["hugePages.free"])).toEqual(["hugePages c"]);
    expect(fieldsOf([])).toEqual([]);
  });
});

describe("cpuList", () => {
  it.each([
    [[], ""],
    [[3], "3"],
    [[0, 1, 2, 3], "0-3"],
    [[8, 0, 1, 9, 3], "0-1,3,8-9"],
  ])("writes %j as %j", (cpus, text) => {
    expect(cpuList(cpus)).toBe(text);
  });
});
