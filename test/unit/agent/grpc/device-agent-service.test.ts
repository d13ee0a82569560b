import { expect, it } from "vitest";
import { deviceAgentService } from "../../../../agent/grpc/device-agent-service.ts";
import type { NodeInstances } from "../../../../agent/instances/node-instances.ts";
import type { Identity } from "../../../../platform/auth/identity.ts";

type Methods = Record<string, (request: unknown, context: { fleet: unknown }) => unknown>;

const DEVICE = { pciAddress: "0000:01:00.0", usb: undefined };
const ATTACH = { instanceId: "inst-0123456789abcdef", generation: 1, device: DEVICE };

/** The service of a node whose one instance is run by this driver. */
function serve(devices: object | null, isAllowed = true, identity: Identity = { kind: "control", name: "nodes" }) {
  const found = { driver: { devices }, native: { nativeId: "u-1" } };
  const keeper = { exclusively: async (_placement: unknown, work: (one: typeof found) => unknown) => work(found), find: async () => found };
  const instances = { drivers: [{ devices }], keeperOf: async () => keeper } as unknown as NodeInstances;
  const [, methods] = deviceAgentService((nodeId) => (nodeId === "node-1" ? instances : null), isAllowed);
  const context = { fleet: { identity, signal: new AbortController().signal } };
  return async (name: string, request: object) => (methods as Methods)[name]?.({ nodeId: "node-1", ...request }, context as never);
}

const driver = {
  attach: async (...args: unknown[]) => ({ attached: args.slice(0, 2) }),
  detach: async () => undefined,
  list: async () => ["a device"],
  setSriovVfs: async (...args: unknown[]) => args.slice(0, 2),
};

it("gives devices to the instance that is named, and says what it has", async () => {
  const call = serve(driver);
  expect(await call("attachDevice", ATTACH)).toEqual({ attached: [{ nativeId: "u-1" }, { kind: "pci", address: "0000:01:00.0" }] });
  expect(await call("detachDevice", ATTACH)).toEqual({});
  expect(await call("listAttachedDevices", ATTACH)).toEqual({ devices: ["a device"] });
  expect(await call("setSriovVfs", { pciAddress: "0000:01:00.0", count: 2 })).toEqual({ sriov: ["0000:01:00.0", 2] });
});

it("changes nothing where the agent's own configuration forbids it, and still says what there is", async () => {
  const call = serve(driver, false);
  for (const name of ["attachDevice", "detachDevice", "setSriovVfs"]) {
    await expect(call(name, { ...ATTACH, ...DEVICE, count: 1 })).rejects.toMatchObject({ reason: "DevicesNotAllowed" });
  }
  expect(await call("listAttachedDevices", ATTACH)).toEqual({ devices: ["a device"] });
});

it("refuses containers, strangers, other nodes and what is no request", async () => {
  const containers = serve(null);
  await expect(containers("attachDevice", ATTACH)).rejects.toMatchObject({ reason: "InstanceTypeUnsupported" });
  await expect(containers("setSriovVfs", { pciAddress: "0000:01:00.0", count: 1 })).rejects.toMatchObject({ reason: "NotSupported" });
  expect(await containers("listAttachedDevices", ATTACH)).toEqual({ devices: [] });
  const call = serve(driver);
  await expect(call("attachDevice", { ...ATTACH, nodeId: "node-2" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  for (const bad of [{ instanceId: "x/../y" }, { generation: 0 }, { device: undefined }]) {
    await expect(call("attachDevice", { ...ATTACH, ...bad })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  const stranger = serve(driver, true, { kind: "agent", agentId: "agent-1" });
  await expect(stranger("attachDevice", ATTACH)).rejects.toMatchObject({ code: "FORBIDDEN" });
});
