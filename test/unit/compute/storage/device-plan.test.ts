import { describe, expect, test } from "vitest";
import type { AttachedVolume, InstanceSpec } from "../../../../subgraphs/compute/services/instance-types.ts";
import { checkSpec } from "../../../../subgraphs/compute/services/spec-input.ts";
import { specToMessage } from "../../../../subgraphs/compute/services/spec-message.ts";
import { plannedDevices } from "../../../../subgraphs/compute/services/storage/device-plan.ts";
import { checkPool, checkVolume } from "../../../../subgraphs/compute/services/storage/storage-input.ts";

const BASE = { image: "debian", cpuCores: 1, memoryBytes: 2 ** 30 };
const volume = (name: string): AttachedVolume => ({ name, pool: "fast", volume: `of-${name}`, readOnly: false });

function spec(more: Partial<InstanceSpec> = {}): InstanceSpec {
  return { ...checkSpec(BASE, "VM").spec, ...more };
}

describe("what an instance has once a device task has succeeded", () => {
  test("one more, or one less, and the others as they were", () => {
    const before = spec({ volumes: [volume("a"), volume("b")] });
    expect(plannedDevices("VOLUME_ATTACH", volume("c"), before).volumes.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(plannedDevices("VOLUME_DETACH", { name: "a" }, before)).toEqual({ volumes: [volume("b")], interfaces: [] });
    const network = { networkId: "lan", subnetId: null, securityGroups: [], assignPublicIp: false };
    const nic = { name: "a", network };
    expect(plannedDevices("INTERFACE_ATTACH", nic, before)).toEqual({ volumes: before.volumes, interfaces: [nic] });
    expect(plannedDevices("INTERFACE_DETACH", { name: "a" }, { ...before, interfaces: [nic] }).interfaces).toEqual([]);
  });

  test("no more than there is room for, and nothing twice", () => {
    const full = spec({ volumes: Array.from({ length: 16 }, (_, index) => volume(`v${index}`)) });
    expect(() => plannedDevices("VOLUME_ATTACH", volume("more"), full)).toThrow(expect.objectContaining({ reason: "TooManyDevices" }));
    expect(() => plannedDevices("VOLUME_ATTACH", volume("v3"), full)).toThrow(expect.objectContaining({ code: "ALREADY_EXISTS" }));
    expect(() => plannedDevices("VOLUME_DETACH", { name: "none" }, full)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });

  test("a disk's name that is cut off in the guest is taken, too", () => {
    const disks = [{ name: "a-disk-with-a-long-name", sizeBytes: 2 ** 30, type: null, boot: false }];
    expect(() => plannedDevices("VOLUME_ATTACH", volume("a-disk-with-a-long-n"), spec({ disks }))).toThrow(
      expect.objectContaining({ details: { field: "name" } }),
    );
  });
});

describe("volumes and interfaces in a spec", () => {
  const refusedField = (raw: object, type: "VM" | "MICROVM" | "CONTAINER" = "VM") => {
    try {
      checkSpec({ ...BASE, ...raw }, type);
    } catch (error) {
      return (error as { details: { field: string } }).details.field;
    }
    return null;
  };

  test("are checked, with the field at fault", () => {
    expect(refusedField({ volumes: [volume("a"), volume("b")], interfaces: [{ name: "nic" }] })).toBeNull();
    expect(refusedField({ volumes: [{ ...volume("a"), pool: "a/b" }] })).toBe("spec.volumes[0].pool");
    expect(refusedField({ volumes: [volume("a"), { ...volume("b"), volume: "of-a" }] })).toBe("spec.volumes[1].volume");
    expect(refusedField({ disks: [{ name: "a", sizeBytes: 2 ** 30 }], volumes: [volume("a")] })).toBe("spec.volumes[0].name");
    expect(refusedField({ volumes: [volume("a-name-of-21-letters-")] })).toBe("spec.volumes[0].name");
    expect(refusedField({ volumes: Array.from({ length: 17 }, (_, index) => volume(`v${index}`)) })).toBe("spec.volumes");
    expect(refusedField({ interfaces: [{ name: "nic" }, { name: "nic" }] })).toBe("spec.interfaces[1].name");
    expect(refusedField({ interfaces: [{ name: "nic", network: { networkId: "none" } }] })).toBe("spec.interfaces[0].network.networkId");
    expect(refusedField({ volumes: [volume("a")] }, "CONTAINER")).toBe("spec.volumes");
    expect(refusedField({ interfaces: [{ name: "nic" }] }, "CONTAINER")).toBe("spec.interfaces");
    expect(refusedField({ kernel: "vmlinuz", volumes: [volume("a")] }, "MICROVM")).toBeNull();
  });

  test("reach the contract's form; an event of before they were has none", () => {
    const { spec: checked } = checkSpec({ ...BASE, volumes: [volume("a")], interfaces: [{ name: "nic" }] }, "VM");
    expect(specToMessage(checked, null)).toMatchObject({
      volumes: [volume("a")],
      interfaces: [{ name: "nic", network: { networkId: "default", subnetId: "", assignPublicIp: false } }],
    });
    const { volumes: _volumes, interfaces: _interfaces, ...old } = checked;
    expect(specToMessage(old as InstanceSpec, null)).toMatchObject({ volumes: [], interfaces: [] });
  });
});

test("pools and volumes are checked before any host is asked", () => {
  const pool = { nodeId: "node-1", name: "fast", kind: "NETFS", source: "server:/export/vms" };
  expect(checkPool(pool)).toMatchObject({ path: "", source: "server:/export/vms" });
  expect(checkPool({ ...pool, source: "[fd00::1]:/export" })).toMatchObject({ source: "[fd00::1]:/export" });
  for (const source of ["server", "-o exec:/x", "server:relative", "server:/ex port", ""]) {
    expect(() => checkPool({ ...pool, source }), source).toThrow(expect.objectContaining({ details: { field: "source" } }));
  }
  expect(() => checkPool({ ...pool, kind: "DIR", path: "/srv" })).toThrow(expect.objectContaining({ details: { field: "source" } }));
  expect(() => checkPool({ nodeId: "node-1", name: "fast", kind: "DIR" })).toThrow(expect.objectContaining({ details: { field: "path" } }));
  const asked = { nodeId: "node-1", pool: "fast", name: "data" };
  expect(() => checkVolume(asked)).toThrow(expect.objectContaining({ details: { field: "capacityBytes" } }));
  expect(checkVolume({ ...asked, image: "debian" })).toMatchObject({ capacityBytes: 0, format: "QCOW2", image: "debian" });
});
