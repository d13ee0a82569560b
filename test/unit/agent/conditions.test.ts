import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readCapacity } from "../../../agent/capacity.ts";
import { HostConditions } from "../../../agent/conditions.ts";
import { type FileSystemSize, HostReadError, type InterfaceAddress } from "../../../agent/host/host-channel.ts";
import { isClockSkewed, isDiskShort, isMemoryShort } from "../../../agent/thresholds.ts";
import { type CapturedHost, openCapturedHost } from "../../support/captured-host.ts";

const GIB = 1024 ** 3;
const ETH0: InterfaceAddress = { interface: "eth0", address: "192.0.2.10", family: "IPv4", loopback: false };
const LO: InterfaceAddress = { interface: "lo", address: "127.0.0.1", family: "IPv4", loopback: true };

let captured: CapturedHost;
let disk: FileSystemSize | null;
let addresses: InterfaceAddress[];

beforeEach(async () => {
  captured = await openCapturedHost("x86-cloud-vm");
  disk = { totalBytes: 100 * GIB, availableBytes: 50 * GIB, inodes: { total: 1000, available: 900 } };
  addresses = [LO, ETH0];
  // A file system and interfaces cannot be captured as files.
  captured.host.fileSystem = async (path) => {
    if (disk === null) throw new HostReadError("NO_PERMISSION", path, "no");
    return disk;
  };
  captured.host.addresses = async () => addresses;
});

afterEach(() => captured[Symbol.asyncDispose]());

async function statuses(conditions: HostConditions): Promise<Record<string, string>> {
  return Object.fromEntries((await conditions.read()).map(({ type, status, reason }) => [type, `${status} ${reason}`]));
}

describe("the conditions of a host", () => {
  it("are well on a healthy one", async () => {
    expect(await statuses(new HostConditions(captured.host, "/"))).toEqual({
      Ready: "True AgentReady",
      DiskPressure: "False EnoughDisk",
      MemoryPressure: "False EnoughMemory",
      NetworkUnavailable: "False NetworkReady",
    });
  });

  it("show disk pressure until clearly more is free again, and keep the time of the transition", async () => {
    const conditions = new HostConditions(captured.host, "/");
    const seen: string[] = [];
    const times = new Set<number>();
    for (const availableGib of [50, 11, 9, 12, 14, 16, 12]) {
      disk = { totalBytes: 100 * GIB, availableBytes: availableGib * GIB, inodes: null };
      const condition = (await conditions.read()).find(({ type }) => type === "DiskPressure")!;
      seen.push(condition.status);
      if (condition.status === "True") times.add(condition.lastTransitionTime!.getTime());
    }
    expect(seen).toEqual(["False", "False", "True", "True", "True", "False", "False"]);
    expect(times.size).toBe(1);
  });

  it("show memory pressure by what is available and by stalls", async () => {
    const conditions = new HostConditions(captured.host, "/");
    const meminfo = await captured.host.read("/proc/meminfo");
    await captured.change("/proc/meminfo", meminfo.replace(/MemAvailable: +\d+/, "MemAvailable: 500000"));
    expect((await statuses(conditions)).MemoryPressure).toBe("True MemoryAlmostFull");
    await captured.change("/proc/meminfo", meminfo);
    expect((await statuses(conditions)).MemoryPressure).toBe("False EnoughMemory");
    await captured.change(
      "/proc/pressure/memory",
      "some avg10=0 avg60=30.00 avg300=0 total=1\nfull avg10=0 avg60=12.50 avg300=0 total=1\n",
    );
    expect((await statuses(conditions)).MemoryPressure).toBe("True MemoryAlmostFull");
    await captured.remove("/proc/pressure");
    expect((await statuses(conditions)).MemoryPressure).toBe("False EnoughMemory");
  });

  it("miss the network without an address of its own, and without a route through it", async () => {
    const conditions = new HostConditions(captured.host, "/");
    addresses = [LO, { ...ETH0, address: "169.254.3.4" }, { ...ETH0, address: "fe80::1", family: "IPv6" }];
    expect((await statuses(conditions)).NetworkUnavailable).toBe("True NoAddress");
    addresses = [LO, { ...ETH0, interface: "eth7" }];
    expect((await statuses(conditions)).NetworkUnavailable).toBe("True NoRoute");
    // Two hosts on a cable: no default route, and reachable.
    await captured.change("/proc/net/route", "Iface\tDestination\tGateway \tFlags\neth7\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n");
    expect((await statuses(conditions)).NetworkUnavailable).toBe("False NetworkReady");
  });

  it("are Unknown where they cannot be read", async () => {
    disk = null;
    await captured.remove("/proc/meminfo");
    expect(await statuses(new HostConditions(captured.host, "/"))).toMatchObject({
      DiskPressure: "Unknown NotReadable",
      MemoryPressure: "Unknown NotReadable",
    });
  });

  it("tell the clock's skew once it was measured", async () => {
    const conditions = new HostConditions(captured.host, "/");
    conditions.observeClock(-7000, 20);
    const skew = (await conditions.read()).find(({ type }) => type === "ClockSkew");
    expect(skew).toMatchObject({ status: "True", message: "The host's clock is 7.0 s behind the control plane's." });
    conditions.observeClock(4500, 20);
    expect((await statuses(conditions)).ClockSkew).toBe("True ClockOutOfStep");
    conditions.observeClock(3000, 20);
    expect((await statuses(conditions)).ClockSkew).toBe("False ClockInStep");
  });

  it("are not Ready while the agent cannot keep its state", async () => {
    const conditions = new HostConditions(captured.host, "/");
    conditions.observeState("ENOSPC");
    expect((await statuses(conditions)).Ready).toBe("False StateNotSaved");
    conditions.observeState(null);
    expect((await statuses(conditions)).Ready).toBe("True AgentReady");
  });
});

describe("the thresholds", () => {
  it("do not call a large disk full that has gigabytes left", () => {
    expect(isDiskShort({ totalBytes: 100_000 * GIB, availableBytes: 500 * GIB, inodes: null }, false)).toBe(false);
    expect(isDiskShort({ totalBytes: 100_000 * GIB, availableBytes: 19 * GIB, inodes: null }, false)).toBe(true);
  });

  it("see a disk without inodes as full", () => {
    expect(isDiskShort({ totalBytes: 100 * GIB, availableBytes: 90 * GIB, inodes: { total: 1000, available: 40 } }, false)).toBe(true);
    expect(isDiskShort({ totalBytes: 100 * GIB, availableBytes: 90 * GIB, inodes: { total: 1000, available: 60 } }, true)).toBe(true);
  });

  it("count a skew only beyond what a slow answer explains", () => {
    expect(isClockSkewed(6000, 0, false)).toBe(true);
    expect(isClockSkewed(6000, 1500, false)).toBe(false);
    expect(isMemoryShort(1000 * GIB, 5 * GIB, null, false)).toBe(false);
  });
});

describe("the capacity of a host", () => {
  it("is what the kernel shows, with 0 GPUs where there is no PCI bus", async () => {
    await captured.remove("/sys/bus/pci");
    expect(await readCapacity(captured.host, "/")).toEqual({
      cpuCores: 2,
      memoryBytes: 24_684_084 * 1024,
      diskBytes: 100 * GIB,
      gpuCount: 0,
    });
  });
});
