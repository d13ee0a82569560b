import { describe, expect, it } from "vitest";
import { checkVfs, writeVfs } from "../../../../agent/devices/virtual-functions.ts";
import { type HostChannel, type HostCommand, HostReadError } from "../../../../agent/host/host-channel.ts";
import { PciDevice, PciInventory } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

const [NIC, VF] = ["0000:01:00.0", "0000:01:10.0"];
const user = { instanceId: "inst-1", guestName: "inst-1" };
const fn = { index: 0, address: VF, interfaces: [] };

function host({ enabledVfs = 0, vf = fn as object, more = {}, vfReason = "" } = {}): PciInventory {
  const sriov = { totalVfs: 4, enabledVfs, functions: enabledVfs > 0 ? [vf] : [] };
  const passthrough = { possible: vfReason === "", reason: vfReason, message: "eth0 is on it, which has a route of the host." };
  return PciInventory.fromPartial({ devices: [PciDevice.fromPartial({ address: NIC, sriov, ...more }), { address: VF, passthrough }] });
}

describe("virtual functions", () => {
  it("are set to another number, up to what the device can have", () => {
    expect(checkVfs(host(), NIC, 4)).toBe(true);
    expect(checkVfs(host({ enabledVfs: 2 }), NIC, 0)).toBe(true);
    expect(checkVfs(host({ enabledVfs: 2 }), NIC, 2)).toBe(false);
    for (const count of [5, -1, 1.5])
      expect(() => checkVfs(host(), NIC, count)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => checkVfs(host(), "0000:02:00.0", 1)).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
    expect(() => checkVfs(host(), VF, 1)).toThrow(expect.objectContaining({ reason: "NotSupported" }));
  });

  it("stay as they are while one of them, or the device, is a guest's, or the host needs one", () => {
    const refused = (inventory: PciInventory) => expect(() => checkVfs(inventory, NIC, 1));
    refused(host({ enabledVfs: 2, vf: { ...fn, user } })).toThrow(
      expect.objectContaining({ reason: "InUse", details: { usedBy: "inst-1" } }),
    );
    refused(host({ more: { user } })).toThrow(expect.objectContaining({ reason: "InUse" }));
    refused(host({ enabledVfs: 2, vfReason: "HostNetwork" })).toThrow(expect.objectContaining({ reason: "HostNetwork" }));
    // Its group is no reason: it is not given away.
    expect(checkVfs(host({ enabledVfs: 2, vfReason: "NoIommu" }), NIC, 1)).toBe(true);
  });

  it("go through none to another number; what the kernel says is told", async () => {
    const written: string[] = [];
    const channel = (answer: () => { exitCode: number; stderr: string }) =>
      ({
        exec: async ({ program, args, privileged }: HostCommand, options?: { input?: string }) => {
          expect([program, privileged]).toEqual(["tee", true]);
          written.push(`${args.join(" ")} ${options?.input}`);
          return { stdout: "", ...answer() };
        },
      }) as unknown as HostChannel;
    const { signal } = new AbortController();
    const fine = channel(() => ({ exitCode: 0, stderr: "" }));
    await writeVfs(fine, NIC, 2, 3, signal);
    await writeVfs(fine, NIC, 0, 1, signal);
    await writeVfs(fine, NIC, 2, 0, signal);
    expect(written).toEqual(["0\n", "3\n", "1\n", "0\n"].map((count) => `/sys/bus/pci/devices/${NIC}/sriov_numvfs ${count}`));
    const busy = channel(() => ({ exitCode: 1, stderr: "tee: Device or resource busy" }));
    await expect(writeVfs(busy, NIC, 0, 1, signal)).rejects.toMatchObject({
      reason: "KernelRefused",
      message: expect.stringContaining("busy"),
    });
    for (const [reason, expected] of [
      ["NO_SHELL", { reason: "NoShell" }],
      ["NO_PERMISSION", { reason: "NoPermission" }],
      ["HOST_UNREACHABLE", { code: "UNAVAILABLE" }],
    ] as const) {
      const failing = channel(() => {
        throw new HostReadError(reason, "tee", "It cannot be run.");
      });
      await expect(writeVfs(failing, NIC, 0, 1, signal)).rejects.toMatchObject(expected);
    }
  });
});
