import { describe, expect, it } from "vitest";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { storagePlan, volumePrefix, wholeSteps } from "../../../../agent/drivers/libvirt/storage/storage-plan.ts";
import { type DiskSpec, InstanceSpec, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";

const IMAGES = "/images";
const GIB = 2 ** 30;

function planOf(spec: Partial<InstanceSpec>): InstancePlan {
  return {
    instanceId: "inst-abc",
    nodeId: "node-1",
    generation: 1,
    name: "web",
    type: InstanceType.VM,
    spec: InstanceSpec.fromPartial(spec),
    labels: {},
    annotations: {},
  };
}

function disk(given: Partial<DiskSpec>): DiskSpec {
  return { name: "root", sizeBytes: GIB, type: "", boot: false, ...given };
}

function disksOf(spec: Partial<InstanceSpec>) {
  return storagePlan(planOf(spec), IMAGES).disks;
}

describe("the disks of a plan", () => {
  it("an image without disks gets one, as large as the image", () => {
    expect(disksOf({ image: "debian" })).toEqual([
      { name: "root", volume: "inst-abc.root.qcow2", type: "", boot: true, fromImage: true, sizeBytes: 0 },
    ]);
  });

  it("the boot disk carries the image, wherever it stands in the list", () => {
    const disks = disksOf({ image: "debian", disks: [disk({ name: "data" }), disk({ name: "system", boot: true, sizeBytes: 0 })] });
    expect(disks.map(({ name, fromImage, boot }) => ({ name, fromImage, boot }))).toEqual([
      { name: "data", fromImage: false, boot: false },
      { name: "system", fromImage: true, boot: true },
    ]);
  });

  it("where none is marked, the first one carries it", () => {
    expect(disksOf({ image: "debian", disks: [disk({}), disk({ name: "data" })] }).map(({ fromImage }) => fromImage)).toEqual([
      true,
      false,
    ]);
  });

  it("with a kernel and no image, disks are empty, and there may be none", () => {
    expect(disksOf({ kernel: "vmlinuz", disks: [disk({ boot: true })] })).toMatchObject([{ boot: true, fromImage: false }]);
    expect(disksOf({ kernel: "vmlinuz" })).toEqual([]);
  });

  it("an instance without image and kernel has nothing to boot", () => {
    expect(() => disksOf({ disks: [disk({ boot: true })] })).toThrow(
      expect.objectContaining({ code: "FAILED_PRECONDITION", reason: "ImageRequired" }),
    );
  });

  it.each<[string, DiskSpec[]]>([
    ["two boot disks", [disk({ boot: true }), disk({ name: "b", boot: true })]],
    ["two disks of one name", [disk({}), disk({})]],
    ["a name with a path", [disk({ name: "../x" })]],
    ["a name with a dot", [disk({ name: "a.b" })]],
    ["no name", [disk({ name: "" })]],
    ["a negative size", [disk({ sizeBytes: -1 })]],
    ["a size beyond all disks", [disk({ sizeBytes: 2 ** 60 })]],
    ["an empty disk without a size", [disk({}), disk({ name: "b", sizeBytes: 0 })]],
    ["seventeen disks", Array.from({ length: 17 }, (_, index) => disk({ name: `d${index}` }))],
  ])("refuses %s", (_what, disks) => {
    expect(() => disksOf({ image: "debian", disks })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "DiskInvalid" }));
  });

  it("refuses a type that no host has", () => {
    expect(() => disksOf({ image: "debian", disks: [disk({ type: "nvme" })] })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "DiskTypeUnknown", details: { field: "spec.disks[0].type" } }),
    );
  });

  it("rounds sizes up to what qemu-img is told", () => {
    expect([1, 1024, 1025].map(wholeSteps)).toEqual([1024, 1024, 2048]);
  });
});

describe("the names of an instance's volumes", () => {
  it("begin as no other instance's do", () => {
    expect(volumePrefix("inst-abc")).toBe("inst-abc.");
    expect("inst-abcd.root.qcow2".startsWith(volumePrefix("inst-abc"))).toBe(false);
  });

  it.each(["", "inst-", "node-abc", "inst-a/b", "inst-A", "inst-abc.root"])("are not made of %j", (id) => {
    expect(() => volumePrefix(id)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
