import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type DeviceUsers, NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { DeviceIds } from "../../../../agent/hardware/ids/device-ids.ts";
import { readUsb, USB_NEEDS } from "../../../../agent/hardware/usb/usb.ts";
import { blockDevice, type HostTree, networkInterface, pciPath, runningHost, treeHost } from "../../../support/host-tree.ts";

const XHCI = pciPath("0000:00:14.0");
const NO_NAMES = new DeviceIds(["/nonexistent/usb.ids"]);

function usbDevice(
  name: string,
  path: string,
  device: { product: string; type?: string; bus: number; number: number; files?: Record<string, string> },
): HostTree {
  const directory = `/sys/bus/usb/devices/${name}`;
  const own = Object.entries(device.files ?? {}).map(([file, text]) => [`${directory}/${file}`, `${text}\n`]);
  return {
    [directory]: { link: `../../../devices/${path}/${name}` },
    [`${directory}/uevent`]: [
      ...["DEVTYPE=usb_device", "DRIVER=usb", `PRODUCT=${device.product}`, `TYPE=${device.type ?? "0/0/0"}`],
      ...[`BUSNUM=${String(device.bus).padStart(3, "0")}`, `DEVNUM=${String(device.number).padStart(3, "0")}`, ""],
    ].join("\n"),
    ...Object.fromEntries(own),
  };
}

function usbInterface(name: string, interfaceClass: string, driver?: string): HostTree {
  const lines = ["DEVTYPE=usb_interface", ...(driver ? [`DRIVER=${driver}`] : []), `INTERFACE=${interfaceClass}`, ""];
  return { [`/sys/bus/usb/devices/${name}/uevent`]: lines.join("\n") };
}

const HOST: HostTree = {
  ...runningHost(["8:1 /boot/efi vfat /dev/sda1"]),
  "/sys/bus/pci/devices/0000:00:14.0/driver": { link: "../../../bus/pci/drivers/xhci_hcd" },
  ...usbDevice("usb1", XHCI, {
    product: "1d6b/2/601",
    type: "9/0/1",
    bus: 1,
    number: 1,
    files: { speed: "480", version: " 2.00", maxchild: "12" },
  }),
  ...usbDevice("usb2", XHCI, {
    product: "1d6b/3/601",
    type: "9/0/3",
    bus: 2,
    number: 1,
    files: { speed: "10000", version: " 3.10", maxchild: "6" },
  }),
  ...usbInterface("1-0:1.0", "9/0/0", "hub"),
  ...usbDevice("1-2", `${XHCI}/usb1`, {
    product: "46d/c52b/1211",
    bus: 1,
    number: 4,
    files: { manufacturer: "Logitech", product: "USB Receiver", speed: "12" },
  }),
  ...usbInterface("1-2:1.0", "3/1/1", "usbhid"),
  ...usbInterface("1-2:1.1", "3/1/2", "usbhid"),
  ...usbDevice("1-3", `${XHCI}/usb1`, { product: "5e3/610/655", type: "9/0/2", bus: 1, number: 5 }),
  ...usbDevice("1-3.1", `${XHCI}/usb1/1-3`, { product: "bda/8153/3000", bus: 1, number: 6, files: { serial: "000001" } }),
  ...usbInterface("1-3.1:1.0", "255/255/0", "r8152"),
  ...networkInterface("enx00", `${XHCI}/usb1/1-3/1-3.1/1-3.1:1.0`, 3),
  "/sys/class/net/enx00/master": { link: "../../br0" },
  ...usbDevice("2-1", `${XHCI}/usb2`, { product: "781/5581/100", bus: 2, number: 2, files: { speed: "5000", version: " 3.20" } }),
  ...usbInterface("2-1:1.0", "8/6/80", "usb-storage"),
  ...blockDevice("sda1", `${XHCI}/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0`, "8:1"),
};

async function read(tree: HostTree, users: DeviceUsers = NO_USERS, ids = NO_NAMES) {
  return readUsb(treeHost(tree, USB_NEEDS), users, ids);
}

describe("USB", () => {
  it("has its controllers with a bus for each of their speeds", async () => {
    expect((await read(HOST)).controllers).toEqual([
      {
        pciAddress: "0000:00:14.0",
        driver: "xhci_hcd",
        buses: [
          { number: 1, version: "2.00", speedMbps: 480, ports: 12 },
          { number: 2, version: "3.10", speedMbps: 10_000, ports: 6 },
        ],
      },
    ]);
  });

  it("has a controller that is not on PCI by its driver alone", async () => {
    const place = "platform/soc/fe9c0000.usb/xhci-hcd.0.auto";
    const { controllers } = await read({
      ...runningHost([]),
      "/sys/bus/platform/devices/xhci-hcd.0.auto/driver": { link: "../../../../bus/platform/drivers/xhci-hcd" },
      ...usbDevice("usb1", place, { product: "1d6b/2/601", type: "9/0/1", bus: 1, number: 1 }),
    });
    expect(controllers).toMatchObject([{ pciAddress: undefined, driver: "xhci-hcd" }]);
  });

  it("has what is plugged in, with the class of its first interface and all of its drivers", async () => {
    const { devices } = await read(HOST);
    expect(devices.map(({ port }) => port)).toEqual(["1-2", "1-3", "1-3.1", "2-1"]);
    expect(devices[0]).toMatchObject({
      ...{ bus: 1, device: 4, vendorId: 0x046d, productId: 0xc52b, classId: 3, speedMbps: 12, drivers: ["usbhid"] },
      ...{ vendorName: "Logitech", productName: "USB Receiver", passthrough: { possible: true } },
    });
    expect(devices[2]).toMatchObject({ serial: "000001", vendorId: 0x0bda, productId: 0x8153, classId: 255, drivers: ["r8152"] });
  });

  it("keeps hubs, the host's disk and its network", async () => {
    const { devices } = await read(HOST);
    const reasons = Object.fromEntries(devices.map(({ port, passthrough }) => [port, passthrough?.reason]));
    expect(reasons).toEqual({ "1-2": "", "1-3": "Hub", "1-3.1": "HostNetwork", "2-1": "RootDisk" });
  });

  it("gives no disk and no network adapter away where the host does not tell what it uses", async () => {
    const { devices } = await read({ ...HOST, "/proc/self/mountinfo": { problem: "NO_PERMISSION" } });
    expect(devices.find(({ port }) => port === "2-1")?.passthrough).toMatchObject({ possible: false, reason: "NotKnown" });
    expect(devices.find(({ port }) => port === "1-2")?.passthrough?.possible).toBe(true);
  });

  it("knows who has a device by its place, or by what it is", async () => {
    const [one, other] = [
      { instanceId: "inst-1", guestName: "one" },
      { instanceId: "inst-2", guestName: "two" },
    ];
    const usb = new Map([
      ["1/4", one],
      ["0781:5581", other],
    ]);
    const { devices } = await read(HOST, { ...NO_USERS, usb });
    expect(devices.map(({ user }) => user?.guestName)).toEqual(["one", undefined, undefined, "two"]);
  });

  it("takes names from usb.ids where a device has none of its own", async () => {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-ids-"));
    try {
      const file = join(directory, "usb.ids");
      await writeFile(
        file,
        "046d  Logitech, Inc.\n\tc52b  Unifying Receiver\n0bda  Realtek\n\t8153  RTL8153\nC 03  Human Interface Device\n",
      );
      const { devices, unavailable } = await read(HOST, NO_USERS, new DeviceIds([file]));
      expect(unavailable).toEqual([]);
      expect(devices[0]).toMatchObject({ vendorName: "Logitech", className: "Human Interface Device" });
      expect(devices[2]).toMatchObject({ vendorName: "Realtek", productName: "RTL8153" });
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("is nothing on a host without it, with the reason", async () => {
    const { controllers, devices, unavailable } = await read(runningHost([]));
    expect([controllers, devices]).toEqual([[], []]);
    expect(unavailable.map(({ field, reason }) => [field, reason])).toEqual([
      ["devices", "NOT_PRESENT"],
      ["controllers", "NOT_PRESENT"],
    ]);
  });
});
