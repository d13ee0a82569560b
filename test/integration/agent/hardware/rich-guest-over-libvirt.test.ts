import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readCapacity } from "../../../../agent/capacity.ts";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { watchOverLibvirt } from "../../../../agent/hardware/libvirt/watch.ts";
import { needsOf, type PartContent, partReaders } from "../../../../agent/hardware/parts.ts";
import type { HostChannel } from "../../../../agent/host/host-channel.ts";
import { LibvirtOnlyHost } from "../../../../agent/host/libvirt-only-host.ts";
import { openSshHost, type SshHost } from "../../../../agent/host/ssh/ssh-host.ts";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { InventoryPart } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { RICH_GUEST_START_MS, RichGuest } from "../../../support/rich-guest.ts";

const log = createLogger({ name: "test", level: "silent" });
const SOURCES = { users: async () => NO_USERS, libvirt: async () => null };

describeInCampaigns("the rich guest as its libvirt alone tells of it", "rich-guest", () => {
  let guest: RichGuest;
  let ssh: SshHost;
  let client: LibvirtClient;
  let told: PartContent;
  let own: PartContent;

  beforeAll(async () => {
    guest = await RichGuest.start({ nvme: true });
    await guest.run("echo 2 > /sys/class/nvme/nvme0/device/sriov_numvfs; udevadm settle");
    const way = { host: guest.host, port: guest.sshPort, user: "root", hostKeys: [guest.hostKey] };
    ssh = openSshHost({ ...way, privateKey: await readFile(guest.identityFile, "utf8"), log });
    await ssh.attempt(AbortSignal.timeout(60_000));
    client = LibvirtClient.open({ uri: `qemu+ssh://root@${guest.host}:${guest.sshPort}/system`, host: ssh, log });
    await client.whenConnected(AbortSignal.timeout(60_000));
    told = await readParts(new LibvirtOnlyHost(client));
    own = await readParts(ssh);
  }, RICH_GUEST_START_MS);

  afterAll(async () => {
    await client?.close();
    await ssh?.close();
    await guest?.stop();
  });

  async function readParts(host: HostChannel): Promise<PartContent> {
    const readers = partReaders({ know: () => undefined, readings: new Map() });
    const snapshot = await host.snapshot(needsOf(readers));
    const parts: PartContent = {};
    for (const reader of readers) Object.assign(parts, (await reader.read(snapshot, SOURCES)).content);
    return parts;
  }

  test("processors, NUMA nodes with distances, huge pages and DMI are those of its own files", () => {
    const { cpu, numa, hugePages, system, memory } = own.hardware ?? {};
    const { sockets, physicalCores, threads, threadsPerCore, vendor, architecture } = cpu ?? {};
    expect(told.hardware).toMatchObject({ cpu: { sockets, physicalCores, threads, threadsPerCore, vendor, architecture } });
    expect(told.hardware).toMatchObject({ numa, hugePages, system, memory: { totalBytes: memory?.totalBytes } });
  });

  test("PCI devices: names, drivers, links, groups, functions, interfaces, namespaces", () => {
    const comparable = (parts: PartContent) =>
      parts.pci?.devices.map(({ subsystemVendorId: _1, subsystemDeviceId: _2, subsystemName: _3, revision: _4, ...device }) => ({
        ...{ ...device, passthrough: undefined, link: undefined },
        nvme: device.nvme && { ...device.nvme, firmware: undefined },
      }));
    expect(own.pci?.devices.length).toBeGreaterThan(10);
    expect(comparable(told)).toEqual(comparable(own));
    const ofLinks = (parts: PartContent) =>
      parts.pci?.devices.map(({ address, link }) => ({ address, speed: link?.maxSpeedGts, width: link?.maxWidth }));
    expect(ofLinks(told)).toEqual(ofLinks(own));
  });

  test("USB, network and disks", () => {
    const usb = (parts: PartContent) =>
      parts.usb?.devices.map(({ port, bus, device, vendorId, productId, classId, className, drivers }) => ({
        ...{ port, bus, device, vendorId, productId, classId, className, drivers },
      }));
    expect([usb(own)?.length, own.network?.interfaces.length, own.disks?.disks.length]).toEqual([2, 3, 4]);
    expect(usb(told)).toEqual(usb(own));
    expect(told.usb?.controllers.map(({ pciAddress, driver, buses }) => [pciAddress, driver, buses.map(({ number }) => number)])).toEqual(
      own.usb?.controllers.map(({ pciAddress, driver, buses }) => [pciAddress, driver, buses.map(({ number }) => number)]),
    );
    const network = (parts: PartContent) =>
      parts.network?.interfaces.map(({ name, mac, kind, state, pciAddress, speedMbps }) => ({
        name,
        mac,
        kind,
        state,
        pciAddress,
        speedMbps,
      }));
    expect(network(told)).toEqual(network(own));
    const disks = (parts: PartContent) =>
      parts.disks?.disks.map(({ name, transport, sizeBytes, model, serial, pciAddress, removable, logicalBlockBytes }) => ({
        ...{ name, transport, sizeBytes, model, serial, pciAddress, removable, logicalBlockBytes },
      }));
    expect(disks(told)).toEqual(disks(own));
  });

  test("capacity is that of its own files but for the disk", async () => {
    const [overLibvirt, overSsh] = [await readCapacity(new LibvirtOnlyHost(client), "/"), await readCapacity(ssh, "/")];
    expect({ ...overLibvirt, diskBytes: 0 }).toEqual({ ...overSsh, diskBytes: 0 });
  });

  test("what is unplugged is told by libvirt's events", async () => {
    const concerned = new Set<InventoryPart>();
    const over = new AbortController();
    const watching = watchOverLibvirt(
      new LibvirtOnlyHost(client),
      (parts) => {
        for (const part of parts) concerned.add(part);
      },
      over.signal,
    );
    // The registration is on its way; calls that are made after it wait for it.
    await client.call("nodeGetInfo", {});
    await guest.qmp("device_del", { id: "tablet" });
    await expect.poll(() => concerned.has(InventoryPart.USB), { timeout: 30_000 }).toBe(true);
    over.abort();
    await watching;
  }, 60_000);
});
