import { describe, expect, it } from "vitest";
import { pciKind } from "../../../../agent/hardware/pci/kind.ts";
import { judgePassthrough, type PassthroughCandidate } from "../../../../agent/hardware/pci/passthrough.ts";
import { PciKind } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const GPU = 0x030000;
const AUDIO = 0x040300;
const SATA = 0x010601;
const PCI_BRIDGE = 0x060400;
const HOST_BRIDGE = 0x060000;
const ISA_BRIDGE = 0x060100;

function device(address: string, classId: number, more: Partial<PassthroughCandidate> = {}): PassthroughCandidate {
  return { address, classId, kind: pciKind(classId, 0x10de), iommuGroup: 5, own: null, enabledVfs: 0, ...more };
}

describe("a PCI device for an instance", () => {
  it("is given when it is alone in its group", () => {
    const gpu = device("0000:01:00.0", GPU);
    expect(judgePassthrough(gpu, [gpu])).toEqual({ possible: true, reason: "", message: "" });
  });

  it("takes the rest of its group along, but for the bridges above it", () => {
    const gpu = device("0000:01:00.0", GPU);
    const group = [device("0000:00:01.0", PCI_BRIDGE), device("0000:00:00.0", HOST_BRIDGE), gpu, device("0000:01:00.1", AUDIO)];
    expect(judgePassthrough(gpu, group)).toEqual({
      possible: true,
      reason: "",
      message: "The rest of IOMMU group 5 leaves the host with it: 0000:01:00.1.",
    });
  });

  it("stays when it shares the group with the root disk's controller, which is named", () => {
    const gpu = device("0000:01:00.0", GPU);
    const own = { reason: "RootDisk", message: "sda2 is on it, which holds /." } as const;
    const group = [gpu, device("0000:00:1f.2", SATA, { own })];
    const verdict = judgePassthrough(gpu, group);
    expect(verdict).toMatchObject({ possible: false, reason: "SharedGroup" });
    expect(verdict.message).toContain("0000:00:1f.2: sda2 is on it, which holds /.");
  });

  it("stays when it shares the group with a bridge that a driver of the host runs", () => {
    const smbus = device("0000:00:1f.3", 0x0c0500);
    expect(judgePassthrough(smbus, [device("0000:00:1f.0", ISA_BRIDGE), smbus]).reason).toBe("SharedGroup");
  });

  it("stays where there is no IOMMU", () => {
    const gpu = device("0000:01:00.0", GPU, { iommuGroup: undefined });
    expect(judgePassthrough(gpu, [])).toMatchObject({ possible: false, reason: "NoIommu" });
  });

  it.each([
    ["Bridge", device("0000:00:01.0", PCI_BRIDGE)],
    ["NotSupported", device("0000:00:00.2", 0x080600)],
    ["RootDisk", device("0000:02:00.0", 0x010802, { own: { reason: "RootDisk", message: "nvme0n1p2 is on it, which holds /." } })],
    ["HostNetwork", device("0000:03:00.0", 0x020000, { own: { reason: "HostNetwork", message: "eth0 is on it." } })],
    ["VirtualFunctions", device("0000:03:00.0", 0x020000, { enabledVfs: 4 })],
  ])("stays for %s", (reason, candidate) => {
    expect(judgePassthrough(candidate, [candidate])).toMatchObject({ possible: false, reason });
  });
});

describe("the kind of a PCI device", () => {
  it.each([
    ["a GPU with a display", 0x030000, 0x10de, PciKind.GPU],
    ["a GPU without one", 0x030200, 0x10de, PciKind.GPU],
    ["a headless controller of an unknown maker", 0x030200, 0xabcd, PciKind.GPU],
    ["the card of a management controller", 0x030000, 0x1a03, PciKind.OTHER],
    ["an accelerator", 0x120000, 0x19e5, PciKind.ACCELERATOR],
    ["a network adapter", 0x020000, 0x8086, PciKind.NETWORK],
    ["InfiniBand", 0x020700, 0x15b3, PciKind.NETWORK],
    ["NVMe", 0x010802, 0x144d, PciKind.NVME],
    ["RAID", 0x010400, 0x1000, PciKind.STORAGE],
    ["xHCI", 0x0c0330, 0x1912, PciKind.USB_CONTROLLER],
    ["a root port", 0x060400, 0x8086, PciKind.BRIDGE],
    ["SMBus", 0x0c0500, 0x8086, PciKind.OTHER],
  ])("of %s follows from its class and maker", (_name, classId, vendorId, kind) => {
    expect(pciKind(classId, vendorId)).toBe(kind);
  });
});
