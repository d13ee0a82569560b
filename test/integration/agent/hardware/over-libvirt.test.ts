import { availableParallelism } from "node:os";
import pino from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readCapacity } from "../../../../agent/capacity.ts";
import { HostConditions } from "../../../../agent/conditions.ts";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { type PartContent, partReaders } from "../../../../agent/hardware/parts.ts";
import { readHardwareUsage } from "../../../../agent/hardware/usage.ts";
import type { HostChannel } from "../../../../agent/host/host-channel.ts";
import { LibvirtOnlyHost } from "../../../../agent/host/libvirt-only-host.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const MIB = 2 ** 20;
const SOURCES = { users: async () => NO_USERS, libvirt: async () => null };

describeWithPeers("this machine as its libvirt alone tells of it", ["libvirt"], () => {
  let daemon: LibvirtDaemon;
  let client: LibvirtClient;
  let host: LibvirtOnlyHost;
  const local = new LocalHost();

  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    client = LibvirtClient.open({ uri: daemon.uri(), log: pino({ level: "silent" }) });
    host = new LibvirtOnlyHost(client);
    await client.whenConnected();
  }, 60_000);

  afterAll(async () => {
    await client?.close();
    await daemon?.close();
  });

  async function readParts(of: HostChannel): Promise<PartContent> {
    const readers = partReaders({ know: () => undefined, readings: new Map() });
    const snapshot = await of.snapshot({ paths: [], commands: [] });
    const parts: PartContent = {};
    for (const reader of readers) Object.assign(parts, (await reader.read(snapshot, SOURCES)).content);
    return parts;
  }

  test("every part says the same as the machine's own files, or why it says nothing", async () => {
    const [told, own] = await Promise.all([readParts(host), readParts(local)]);
    const { cpu, memory, numa } = own.hardware ?? {};
    const { architecture, sockets, physicalCores, threads, threadsPerCore, vendor } = cpu ?? {};
    expect(told.hardware).toMatchObject({
      cpu: { architecture, sockets, physicalCores, threads, threadsPerCore, vendor },
      memory: { totalBytes: memory?.totalBytes },
      numa: numa?.map(({ id, cpus, distances }) => ({ id, cpus, distances })),
      hugePages: own.hardware?.hugePages,
    });
    const ids = (parts: PartContent) =>
      parts.pci?.devices.map(({ address, classId, vendorId, deviceId, driver, vendorName }) => ({
        ...{ address, classId, vendorId, deviceId, driver, vendorName },
      }));
    expect(ids(told)).toEqual(ids(own));
    const cards = (parts: PartContent) =>
      parts.network?.interfaces
        .filter(({ pciAddress }) => pciAddress !== undefined)
        .map(({ name, mac, state, kind, pciAddress }) => ({ name, mac, state, kind, pciAddress }));
    expect(cards(told)).toEqual(cards(own));
    expect(told.usb?.devices.map(({ port }) => port)).toEqual(own.usb?.devices.map(({ port }) => port));
    expect(told.host).toMatchObject({ architecture, bootId: undefined });
    for (const [part, fields] of Object.entries({
      hardware: ["vulnerabilities"],
      host: ["bootId", "kernel"],
      accelerators: ["accelerators"],
    })) {
      const { unavailable } = told[part as keyof PartContent] ?? {};
      for (const field of fields) expect(unavailable).toContainEqual(expect.objectContaining({ field, reason: "NO_SHELL" }));
    }
  }, 60_000);

  test("memory, its cells and huge pages, now", async () => {
    const [told, own] = [await readHardwareUsage(await host.snapshot()), await readHardwareUsage(local)];
    const total = (usage: typeof told) => (usage.memoryUsedBytes ?? 0) + (usage.memoryAvailableBytes ?? 0);
    expect(total(told)).toBe(total(own));
    // The kernel's estimate leaves out a part of its caches, and others take and give memory meanwhile.
    expect(Math.abs((told.memoryAvailableBytes ?? 0) - (own.memoryAvailableBytes ?? 0))).toBeLessThan(total(own) / 3);
    expect(told.hugePages).toEqual(own.hugePages);
    expect(told.numa.map(({ id }) => id)).toEqual(own.numa.map(({ id }) => id));
    for (const { memoryFreeBytes } of told.numa) expect(memoryFreeBytes).toBeGreaterThan(MIB);
  });

  test("capacity and conditions: the disk is the largest storage pool that runs", async () => {
    const conditions = new HostConditions(host, "/", () => null);
    const statuses = async () => Object.fromEntries((await conditions.read()).map(({ type, status }) => [type, status]));
    const cpuCores = availableParallelism();
    expect(await readCapacity(host, "/")).toMatchObject({ cpuCores, diskBytes: 0, gpuCount: 0 });
    expect(await statuses()).toMatchObject({
      Ready: "True",
      HostReachable: "True",
      DiskPressure: "Unknown",
      NetworkUnavailable: "Unknown",
    });
    const xml = `<pool type="dir"><name>here</name><target><path>${daemon.directory}</path></target></pool>`;
    const { pool } = await client.call("storagePoolDefineXml", { xml });
    await client.call("storagePoolCreate", { pool });
    const { totalBytes } = await local.fileSystem(daemon.directory);
    expect((await readCapacity(host, "/")).diskBytes).toBe(totalBytes);
    expect((await statuses())["DiskPressure"]).not.toBe("Unknown");
  });

  test("where libvirt is gone nothing is read, and nothing is said to be missing", async () => {
    await daemon.kill();
    await expect.poll(() => client.connected, { timeout: 15_000 }).toBe(false);
    await expect(host.snapshot()).rejects.toMatchObject({ reason: "HOST_UNREACHABLE" });
    await expect(readParts(host)).rejects.toMatchObject({ reason: "HOST_UNREACHABLE" });
    await expect(host.devices("PCI")).rejects.toMatchObject({ reason: "HOST_UNREACHABLE" });
  }, 30_000);
});
