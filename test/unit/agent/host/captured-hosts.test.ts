import { describe, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { readDisks } from "../../../../agent/hardware/disks/disks.ts";
import { readInventory } from "../../../../agent/hardware/inventory.ts";
import { readNetwork } from "../../../../agent/hardware/network/network.ts";
import { readPci } from "../../../../agent/hardware/pci/pci.ts";
import { readUsb } from "../../../../agent/hardware/usb/usb.ts";
import { type CaptureName, openCapture } from "../../../support/captured-host.ts";

const NAMES: CaptureName[] = ["x86-firecracker-vm", "x86-q35-numa-iommu", "x86-q35-bond-sriov-vfio"];

describe("the inventory of captured hosts", () => {
  it.each(NAMES)("of %s needs nothing that was not captured", async (name) => {
    const host = await openCapture(name);
    const { hardware } = await readInventory(host);
    const pci = await readPci(host, NO_USERS);
    const usb = await readUsb(host, NO_USERS);
    const network = await readNetwork(host, NO_USERS);
    const disks = await readDisks(host, NO_USERS);
    const missing = [hardware, pci, usb, network, disks].flatMap(({ unavailable }) =>
      unavailable.filter(({ message }) => message.includes("among what was fetched") || message.includes("only what was captured")),
    );
    expect(missing).toEqual([]);
    expect(pci.devices.length).toBeGreaterThan(0);
    expect(network.interfaces.map((link) => link.name)).toContain("lo");
    expect(disks.disks.filter(({ system }) => system)).not.toEqual([]);
  });

  it("shows NUMA, an IOMMU, USB and NVMe of the q35 machine", async () => {
    const host = await openCapture("x86-q35-numa-iommu");
    const { hardware } = await readInventory(host);
    expect(hardware.numa.map(({ id }) => id)).toEqual([0, 1]);
    expect(hardware.virtualization?.iommu).toBe(true);
    const { devices } = await readPci(host, NO_USERS);
    const nvme = devices.find(({ nvme }) => nvme !== undefined);
    expect(nvme).toMatchObject({ driver: "nvme", iommuGroup: expect.any(Number), sriov: { totalVfs: expect.any(Number), enabledVfs: 0 } });
    expect(nvme?.nvme?.namespaces.map(({ disk }) => disk)).toEqual(["nvme0n1"]);
    const usb = await readUsb(host, NO_USERS);
    expect(usb.controllers).toMatchObject([{ driver: "xhci_hcd", pciAddress: "0000:04:00.0" }]);
    expect(usb.devices.map(({ port }) => port)).toEqual(["1-1", "2-2"]);
  });

  it("shows a bond, a VLAN on it in a bridge, virtual functions, and a card that vfio-pci has", async () => {
    const host = await openCapture("x86-q35-bond-sriov-vfio");
    const { interfaces } = await readNetwork(host, NO_USERS);
    const named = (name: string) => interfaces.find((link) => link.name === name);
    expect(named("bond0")?.bond).toMatchObject({ mode: "active-backup", members: ["d0", "d1"] });
    expect(named("bond0.42")).toMatchObject({ master: "br0", vlan: { vlanId: 42, parent: "bond0" } });
    expect(named("br0")?.bridge).toMatchObject({ members: ["bond0.42", "v0"] });
    const { devices } = await readPci(host, NO_USERS);
    expect(devices.find(({ address }) => address === "0000:01:00.0")?.driver).toBe("vfio-pci");
    const physical = devices.find(({ sriov }) => sriov !== undefined);
    expect(physical?.sriov).toMatchObject({ enabledVfs: 2, functions: [{ address: "0000:02:00.1" }, { address: "0000:02:00.2" }] });
  });
});
