import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { HOST_NEEDS, readHostFacts } from "../../../../agent/hardware/host-facts.ts";
import { HARDWARE_NEEDS, readInventory } from "../../../../agent/hardware/inventory.ts";
import { PCI_NEEDS, readPci } from "../../../../agent/hardware/pci/pci.ts";
import { readUsb, USB_NEEDS } from "../../../../agent/hardware/usb/usb.ts";
import type { HostChannel } from "../../../../agent/host/host-channel.ts";
import { openSshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { expectAsLspci, LSPCI } from "../../../support/lspci.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";

const NEEDS = [PCI_NEEDS, USB_NEEDS, HOST_NEEDS, HARDWARE_NEEDS];

/**
 * Two functions of the NVMe, a mapped device on a part of it, and swap on a mapped device that ends on the SATA disk: it begins on a file,
 * because these disks forget what is written to them.
 */
const PREPARE = [
  "echo 2 > /sys/class/nvme/nvme0/device/sriov_numvfs",
  "modprobe dm-mod loop && truncate -s 8M /root/start && losetup /dev/loop0 /root/start",
  "dmsetup create part --table '0 2048 linear /dev/nvme0n1 0'",
  // Which of the two is sda, the stick or this one, changes from boot to boot.
  "sata=$(basename /sys/bus/pci/devices/0000:00:1f.2/ata*/host*/target*/*/block/*)",
  'printf "0 16384 linear /dev/loop0 0\\n16384 65536 linear /dev/$sata 0\\n" | dmsetup create both',
  "mkswap /dev/mapper/both && swapon /dev/mapper/both",
].join(" && ");

describeInCampaigns("the rich guest's hardware over SSH, by a user who is not root", "rich-guest", () => {
  let guest: RichGuest;
  let host: HostChannel;

  beforeAll(async () => {
    guest = await RichGuest.start({ nvme: true });
    await guest.run(PREPARE);
    await using ssh = openSshHost({
      ...{ host: guest.host, port: guest.sshPort, user: "fleet", hostKeys: [guest.hostKey] },
      privateKey: await readFile(guest.identityFile, "utf8"),
      log: createLogger({ name: "test", level: "silent" }),
    });
    await ssh.attempt(AbortSignal.timeout(60_000));
    host = await ssh.snapshot({ paths: [...new Set(NEEDS.flatMap(({ paths }) => paths))], commands: [] });
  }, RICH_GUEST_START_MS);

  afterAll(() => guest?.stop());

  it("has the PCI devices of lspci", async () => {
    const { devices, unavailable } = await readPci(host, NO_USERS);
    expectAsLspci(devices, await guest.run(`lspci ${LSPCI.join(" ")}`), { subsystems: false });
    expect(unavailable.map(({ field }) => field)).toEqual(["devices[*].numaNode"]);
  });

  it("has the NVMe with its functions and its namespace", async () => {
    const { devices } = await readPci(host, NO_USERS);
    const controller = devices.find(({ nvme, sriov }) => nvme && sriov);
    expect(controller?.sriov).toMatchObject({ totalVfs: 2, enabledVfs: 2, functions: [{ index: 0 }, { index: 1 }] });
    expect(controller?.nvme?.namespaces).toEqual([{ id: 1, disk: "nvme0n1", sizeBytes: 64 * 1024 * 1024, blockBytes: 512 }]);
    expect(controller?.link).toMatchObject({ width: expect.any(Number), speedGts: expect.any(Number) });
    const functions = devices.filter(({ physicalFunction }) => physicalFunction === controller?.address);
    expect(functions.map(({ address }) => address)).toEqual(controller?.sriov?.functions.map(({ address }) => address));
    expect(new Set([controller, ...functions].map((device) => device?.iommuGroup)).size).toBe(3);
  });

  it("gives away what the host does not need, and says what the rest is for", async () => {
    const { devices } = await readPci(host, NO_USERS);
    const reasonOf = (ids: string) => {
      const found = devices.find(({ vendorId, deviceId }) => `${vendorId.toString(16)}:${deviceId.toString(16)}` === ids);
      return found?.passthrough?.reason;
    };
    expect(reasonOf("8086:10d3")).toBe(""); // The e1000e, which is switched off.
    expect(reasonOf("1b36:d")).toBe(""); // xHCI
    expect(reasonOf("1af4:1001")).toBe("RootDisk");
    expect(reasonOf("1af4:1000")).toBe("HostNetwork");
    expect(reasonOf("1b36:10")).toBe("DiskInUse");
    expect(reasonOf("8086:2922")).toBe("RootDisk"); // Swap is on the SATA disk,
    expect(reasonOf("8086:2930")).toBe("SharedGroup"); // whose controller shares its group with the SMBus.
    expect(devices.find(({ deviceId }) => deviceId === 0x2930)?.passthrough?.message).toMatch(
      /0000:00:1f\.2: sd[ab] is on it, which holds swap space\./,
    );
  });

  it("has the USB devices of lsusb", async () => {
    const { controllers, devices } = await readUsb(host, NO_USERS);
    const expected = (await guest.run("lsusb")).split("\n").flatMap((line) => {
      const [, bus, device, id] = /^Bus (\d+) Device (\d+): ID (\S+)/.exec(line) ?? [];
      return id === undefined ? [] : [`${Number(bus)}/${Number(device)} ${id}`];
    });
    const hubs = controllers.flatMap(({ buses }) =>
      buses.map(({ number, version }) => `${number}/1 1d6b:${version === "2.00" ? "0002" : "0003"}`),
    );
    const hex = (id: number) => id.toString(16).padStart(4, "0");
    const found = devices.map(({ bus, device, vendorId, productId }) => `${bus}/${device} ${hex(vendorId)}:${hex(productId)}`);
    expect([...hubs, ...found].sort()).toEqual(expected.sort());
    const stick = devices.find(({ serial }) => serial === "FG-STICK-1");
    expect(stick).toMatchObject({ classId: 8, speedMbps: 5000, drivers: ["usb-storage"], passthrough: { possible: true } });
  });

  it("is the machine that its own programs describe; what only root may read is null with the reason", async () => {
    const { firmware, board, system, numa, vulnerabilities, unavailable } = (await readInventory(host)).hardware;
    expect(firmware).toMatchObject({ type: "BIOS", vendor: "SeaBIOS" });
    const identity = await guest.run("cat /sys/class/dmi/id/{board_name,sys_vendor,product_name}");
    expect(`${[board?.name, system?.vendor, system?.product].join("\n")}\n`).toBe(identity);
    expect(unavailable).toContainEqual(expect.objectContaining({ field: "system.serial", reason: "NO_PERMISSION" }));
    expect(numa).toHaveLength(2);
    expect(vulnerabilities.length).toBeGreaterThan(5);
    const facts = await readHostFacts(host, null);
    const said = await guest.run("cat /proc/sys/kernel/random/boot_id; uname -r; uname -m; . /etc/os-release; echo $PRETTY_NAME");
    expect(said.trim().split("\n")).toEqual([facts.bootId, facts.kernel, facts.architecture, facts.operatingSystem]);
    expect([...unavailable, ...facts.unavailable].filter(({ reason }) => reason === "UNREADABLE")).toEqual([]);
  });
});
