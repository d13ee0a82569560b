import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { HostDevice } from "../../../../agent/devices/host-device.ts";
import type { LibvirtDevices } from "../../../../agent/drivers/libvirt/devices/libvirt-devices.ts";
import { openSshHost, type SshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import type { DomainReference } from "../../../../agent/libvirt/protocol/structures.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { CAMPAIGN, inCampaigns } from "../../../support/in-campaigns.ts";
import { NestedGuests, openNestedDriver } from "../../../support/nested-guest.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";
import { until } from "../../../support/until.ts";

/** Swap on the SATA disk: its controller is one that the host cannot do without, and shares its group with the SMBus. */
const SWAP_ON_SATA = [
  "modprobe dm-mod loop && truncate -s 8M /root/start && losetup /dev/loop0 /root/start",
  "printf '0 16384 linear /dev/loop0 0\\n16384 65536 linear /dev/sda 0\\n' | dmsetup create both",
  "mkswap /dev/mapper/both && swapon /dev/mapper/both",
].join(" && ");
const [FIRST, SECOND] = ["inst-1", "inst-2"];
const MS = 400_000;
const log = createLogger({ name: "test", level: "silent" });
const signal = () => AbortSignal.timeout(MS);

describeWithPeers("devices of the rich guest, given to guests in it over SSH", "rich-guest", () => {
  let guest: RichGuest;
  let ssh: SshHost;
  let nested: NestedGuests;
  let devices: LibvirtDevices;
  let first: DomainReference;
  let nic: HostDevice;
  let stick: HostDevice;

  const addressOf = async (ids: string) => (await guest.run(`lspci -D -d ${ids}`)).split(" ")[0] ?? "";
  const driverOf = async (path: string) => (await guest.run(`basename "$(readlink ${path}/driver || echo none)"`)).trim();
  const pciDriver = (address: string) => driverOf(`/sys/bus/pci/devices/${address}`);
  const attach = (instanceId: string, device: HostDevice) => devices.attach({ instanceId }, device, signal());
  const detach = (instanceId: string, device: HostDevice) => devices.detach({ instanceId }, device, signal());
  const usbInfo = (dom: DomainReference) => nested.qmp(dom, "human-monitor-command", { "command-line": "info usb" });

  beforeAll(async () => {
    if (!CAMPAIGN) return;
    guest = await RichGuest.start({ nvme: true });
    await guest.run(SWAP_ON_SATA);
    ssh = openSshHost({
      ...{ host: guest.host, port: guest.sshPort, user: "fleet", hostKeys: [guest.hostKey] },
      privateKey: await readFile(guest.identityFile, "utf8"),
      log,
    });
    await ssh.attempt(AbortSignal.timeout(60_000));
    nested = new NestedGuests(ssh, log);
    devices = nested.devices;
    first = await nested.define(FIRST);
    await nested.define(SECOND, "none");
    nic = { kind: "pci", address: await addressOf("8086:10d3") };
    const port = (await guest.run("basename $(dirname $(grep -l FG-STICK-1 /sys/bus/usb/devices/*/serial))")).trim();
    stick = { kind: "usb", port, vendorId: 0, productId: 0 };
  }, RICH_GUEST_START_MS);

  afterAll(async () => {
    await nested?.[Symbol.asyncDispose]();
    await ssh?.close();
    await guest?.stop();
  });

  /** What a failed test has left. */
  afterEach(async () => {
    if (!CAMPAIGN) return;
    await nested.powerOff(first).catch(() => undefined);
  });

  inCampaigns(
    "a network card and a USB stick go to a paused guest and back to their drivers",
    async () => {
      const { address } = nic as { address: string };
      const { port } = stick as { port: string };
      await nested.startPaused(first);
      expect(await attach(FIRST, nic)).toMatchObject({ plugged: true, model: "Intel Corporation 82574L Gigabit Network Connection" });
      expect(await attach(FIRST, stick)).toMatchObject({ plugged: true, device: { usb: { port, vendorId: 0x46f4, productId: 1 } } });
      expect(await nested.qmp(first, "query-pci")).toContain(`"qdev_id":"ua-pci-${address.replace(/[:.]/g, "-")}"`);
      expect(await usbInfo(first)).toContain("QEMU USB HARDDRIVE");
      expect(await pciDriver(address)).toBe("vfio-pci");
      // The same again does nothing; another guest does not get it.
      expect(await attach(FIRST, nic)).toMatchObject({ plugged: true });
      await expect(attach(SECOND, nic)).rejects.toMatchObject({ reason: "InUse", details: { usedBy: FIRST } });
      await expect(attach(SECOND, stick)).rejects.toMatchObject({ reason: "InUse", details: { usedBy: FIRST } });
      expect((await devices.list({ instanceId: FIRST }, signal())).map(({ plugged }) => plugged)).toEqual([true, true]);

      await detach(FIRST, stick);
      expect(await usbInfo(first)).not.toContain("HARDDRIVE");
      await until(async () => (await driverOf(`/sys/bus/usb/devices/${port}:1.0`)) === "usb-storage", "the stick's driver", 30_000);
      // There is no system in the guest that could let go of a PCI device.
      await expect(detach(FIRST, nic)).rejects.toMatchObject({ reason: "DeviceBusy" });
      await nested.powerOff(first);
      await detach(FIRST, nic);
      expect(await pciDriver(address)).toBe("e1000e");
      expect(await devices.list({ instanceId: FIRST }, signal())).toEqual([]);
      for (const device of [nic, stick]) {
        expect(await attach(SECOND, device)).toMatchObject({ plugged: false });
        await detach(SECOND, device);
      }
    },
    MS,
  );

  inCampaigns(
    "what shares a group with the disk that holds swap stays with the host, and so does the network that SSH comes by",
    async () => {
      const refusal = async (ids: string) => {
        const device: HostDevice = { kind: "pci", address: await addressOf(ids) };
        return await attach(FIRST, device).then(
          () => null,
          (error: unknown) => error,
        );
      };
      const sata = await addressOf("8086:2922");
      expect(await refusal("8086:2922")).toMatchObject({ reason: "RootDisk" });
      expect(await refusal("8086:2930")).toMatchObject({ reason: "SharedGroup", message: expect.stringContaining(sata) });
      expect(await refusal("1af4:1000")).toMatchObject({ reason: "HostNetwork" });
      expect(await refusal("1af4:1001")).toMatchObject({ reason: "RootDisk" });
      await expect(attach(FIRST, { kind: "pci", address: "0000:0f:00.0" })).rejects.toMatchObject({ code: "NOT_FOUND" });
      expect(await pciDriver(sata)).toBe("ahci");
      expect(await devices.list({ instanceId: FIRST }, signal())).toEqual([]);
    },
    MS,
  );

  inCampaigns(
    "devices are kept over a restart, a USB device is found where it is plugged in, and a guest that is removed gives all back",
    async () => {
      const { address } = nic as { address: string };
      const { port } = stick as { port: string };
      const tablet: HostDevice = { kind: "usb", port: "1-1", vendorId: 0x0627, productId: 1 };
      for (const device of [nic, stick, tablet]) expect(await attach(FIRST, device)).toMatchObject({ plugged: false });
      // Plugged in again, it has another number on its bus.
      await guest.qmp("device_del", { id: "tablet" });
      await until(async () => !(await guest.run("lsusb")).includes("0627:0001"), "the tablet to be gone", 30_000);
      await guest.qmp("device_add", { driver: "usb-tablet", id: "tablet", bus: "xhci.0", port: "1" });
      await until(async () => (await guest.run("lsusb")).includes("0627:0001"), "the tablet", 30_000);
      const stateDir = await mkdtemp(join(tmpdir(), "fg-nested-"));
      const driver = await openNestedDriver(ssh, stateDir, log);
      const start = () => driver.start({ instanceId: FIRST }, signal());
      await nested.startPaused(first, start);
      expect(await usbInfo(first)).toMatch(/Tablet[\s\S]*HARDDRIVE|HARDDRIVE[\s\S]*Tablet/);
      expect(await pciDriver(address)).toBe("vfio-pci");
      await nested.powerOff(first);

      await guest.qmp("device_del", { id: "tablet" });
      await until(async () => !(await guest.run("lsusb")).includes("0627:0001"), "the tablet to be gone", 30_000);
      await nested.startPaused(first, start);
      expect(await usbInfo(first)).not.toContain("Tablet");
      await expect(driver.suspend({ instanceId: FIRST }, signal(), { toDisk: true })).rejects.toMatchObject({ reason: "DeviceAttached" });
      await driver.remove({ instanceId: FIRST }, signal());
      expect(await driver.find({ instanceId: FIRST }, signal())).toBeNull();
      expect(await pciDriver(address)).toBe("e1000e");
      await until(async () => (await driverOf(`/sys/bus/usb/devices/${port}:1.0`)) === "usb-storage", "the stick's driver", 30_000);
      await driver.close();
      await rm(stateDir, { recursive: true });
      first = await nested.define(FIRST);
    },
    MS,
  );

  inCampaigns(
    "what shares a group leaves the host together and comes back together",
    async () => {
      for (const [id, addr] of [
        ["pair-1", "0.1"],
        ["pair-0", "0.0"],
      ]) {
        await guest.qmp("device_add", { driver: "e1000e", id, bus: "spare-port", addr, multifunction: true });
      }
      const functions = async () => (await guest.run("lspci -D -d 8086:10d3")).split("\n").flatMap((line) => line.split(" ")[0] || []);
      await until(async () => (await functions()).length === 3, "both functions", 60_000);
      const [one = "", other = ""] = (await functions()).filter((address) => address !== (nic as { address: string }).address);
      const drivers = async () => [await pciDriver(one), await pciDriver(other)];
      await until(async () => (await drivers()).every((driver) => driver === "e1000e"), "their drivers", 60_000);
      await attach(FIRST, { kind: "pci", address: one });
      expect(await drivers()).toEqual(["vfio-pci", "vfio-pci"]);
      await expect(attach(SECOND, { kind: "pci", address: other })).rejects.toMatchObject({ reason: "InUse" });
      await attach(FIRST, { kind: "pci", address: other });
      await nested.startPaused(first);
      expect(await nested.qmp(first, "query-pci")).toMatch(/"qdev_id":"ua-pci[\s\S]*"qdev_id":"ua-pci/);
      await nested.powerOff(first);
      await detach(FIRST, { kind: "pci", address: one });
      expect(await drivers()).toEqual(["vfio-pci", "vfio-pci"]);
      await detach(FIRST, { kind: "pci", address: other });
      expect(await drivers()).toEqual(["e1000e", "e1000e"]);

      // Cut off at any moment, and taken up by an agent that knows only what the domain says.
      for (const ms of [100, 400, 900, 1600, 2500, 4000]) {
        const cut = () => AbortSignal.timeout(ms);
        await devices.attach({ instanceId: FIRST }, { kind: "pci", address: one }, cut()).catch(() => undefined);
        await using anew = new NestedGuests(ssh, log);
        if (ms % 200 === 0) await anew.devices.attach({ instanceId: FIRST }, { kind: "pci", address: one }, signal());
        await anew.devices.detach({ instanceId: FIRST }, { kind: "pci", address: one }, cut()).catch(() => undefined);
        await anew.devices.detach({ instanceId: FIRST }, { kind: "pci", address: one }, signal());
        expect(await anew.devices.list({ instanceId: FIRST }, signal())).toEqual([]);
        expect(await drivers()).toEqual(["e1000e", "e1000e"]);
      }
    },
    MS,
  );

  inCampaigns(
    "virtual functions are set, are not taken from a guest, and come back with it after the host has lost them",
    async () => {
      const nvme = await addressOf("1b36:0010");
      const vfs = (count: number) => devices.setSriovVfs(nvme, count, signal());
      await expect(vfs(3)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
      expect((await vfs(2)).functions).toHaveLength(2);
      const { functions } = await vfs(1);
      const vf: HostDevice = { kind: "pci", address: functions[0]?.address ?? "" };
      await attach(FIRST, vf);
      await expect(vfs(0)).rejects.toMatchObject({ reason: "InUse", details: { usedBy: FIRST } });
      await guest.run(`echo 0 > /sys/bus/pci/devices/${nvme}/sriov_numvfs`);
      await devices.prepareBoot(await nested.find(FIRST), signal());
      expect((await guest.run(`cat /sys/bus/pci/devices/${nvme}/sriov_numvfs`)).trim()).toBe("1");
      await detach(FIRST, vf);
      expect((await vfs(0)).enabledVfs).toBe(0);
    },
    MS,
  );
});
