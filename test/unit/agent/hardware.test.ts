import { describe, expect, it } from "vitest";
import { countAccelerators } from "../../../agent/hardware/accelerators.ts";
import { readInventory } from "../../../agent/hardware/inventory.ts";
import { parseCpuList } from "../../../agent/hardware/kernel-text.ts";
import { readHardwareUsage } from "../../../agent/hardware/usage.ts";
import { HostReadError } from "../../../agent/host/host-channel.ts";
import { LocalHost } from "../../../agent/host/local.ts";
import { openCapturedHost } from "../../support/captured-host.ts";

const MIB = 1024 * 1024;

describe("the inventory of a two-socket AMD host with an IOMMU", () => {
  it("counts sockets, cores, threads and caches from the topology", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    const { cpu, unavailable } = (await readInventory(captured.host)).hardware;
    expect(cpu).toMatchObject({
      model: "AMD EPYC-Rome Processor",
      vendor: "AuthenticAMD",
      architecture: "x86_64",
      sockets: 2,
      physicalCores: 8,
      threads: 8,
      threadsPerCore: 1,
      baseMhz: undefined,
      maxMhz: undefined,
    });
    expect(cpu?.caches).toEqual([
      { level: 1, type: "Data", sizeBytes: 32 * 1024, instances: 8 },
      { level: 1, type: "Instruction", sizeBytes: 32 * 1024, instances: 8 },
      { level: 2, type: "Unified", sizeBytes: 512 * 1024, instances: 8 },
      { level: 3, type: "Unified", sizeBytes: 16 * MIB, instances: 2 },
    ]);
    expect(unavailable.map(({ field, reason }) => [field, reason])).toEqual([
      ["cpu.baseMhz", "NOT_PRESENT"],
      ["cpu.maxMhz", "NOT_PRESENT"],
      // This tree was captured without them.
      ["vulnerabilities", "NOT_PRESENT"],
      ["system", "NOT_PRESENT"],
      ["board", "NOT_PRESENT"],
      ["firmware", "NOT_PRESENT"],
    ]);
  });

  it("gives each NUMA node its CPUs, memory and distances", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    const { numa, memory, hugePages } = (await readInventory(captured.host)).hardware;
    expect(numa).toEqual([
      { id: 0, cpus: [0, 1, 2, 3], memoryTotalBytes: 642_916 * 1024, distances: distances(10, 21) },
      { id: 1, cpus: [4, 5, 6, 7], memoryTotalBytes: 340_448 * 1024, distances: distances(21, 10) },
    ]);
    expect(memory).toEqual({ totalBytes: (642_916 + 340_448) * 1024, swapTotalBytes: 0 });
    expect(hugePages).toEqual([
      { sizeBytes: 2 * MIB, total: 8 },
      { sizeBytes: 1024 * MIB, total: 0 },
    ]);
  });

  it("sees AMD-V, nested paging, the IOMMU and nested virtualisation", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    const { virtualization } = (await readInventory(captured.host)).hardware;
    expect(virtualization).toEqual({ hardware: true, technology: "AMD-V", nestedPaging: true, iommu: true, nested: true });
  });

  it("leaves nested virtualisation null with a reason where KVM's module is not loaded", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    await captured.remove("/sys/module/kvm_amd");
    const { virtualization, unavailable } = (await readInventory(captured.host)).hardware;
    expect(virtualization?.nested).toBeUndefined();
    expect(unavailable).toContainEqual({
      field: "virtualization.nested",
      reason: "NOT_PRESENT",
      message: "The kernel module kvm_amd is not loaded.",
    });
  });
});

describe("the inventory of a two-socket Intel host with two threads per core and one CPU offline", () => {
  it("counts only what is online", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-smt");
    const { cpu, numa } = (await readInventory(captured.host)).hardware;
    expect(cpu).toMatchObject({ vendor: "GenuineIntel", sockets: 2, physicalCores: 4, threads: 7, threadsPerCore: 2 });
    expect(cpu?.caches.map(({ level, type, instances }) => [level, type, instances])).toEqual([
      // QEMU describes the first level as not shared between threads.
      [1, "Data", 7],
      [1, "Instruction", 7],
      [2, "Unified", 4],
      [3, "Unified", 2],
    ]);
    expect(numa.map((node) => node.cpus)).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6],
    ]);
  });

  it("says false, not null, for features that the CPU does not have", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-smt");
    const { virtualization } = (await readInventory(captured.host)).hardware;
    expect(virtualization).toEqual({ hardware: false, technology: "", nestedPaging: false, iommu: false, nested: false });
  });

  it("recognises VT-x and EPT from the flags, wherever the kernel writes them", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-smt");
    const cpuinfo = await captured.host.read("/proc/cpuinfo");
    await captured.change("/proc/cpuinfo", cpuinfo.replaceAll(/^flags.*$/gm, "$& vmx\nvmx flags\t: vnmi ept vpid"));
    await captured.change("/sys/module/kvm_intel/parameters/nested", "Y\n");
    const { virtualization } = (await readInventory(captured.host)).hardware;
    expect(virtualization).toMatchObject({ hardware: true, technology: "VT-x", nestedPaging: true, nested: true });
  });

  it("reads frequencies from cpufreq where it is there", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-smt");
    for (let cpu = 0; cpu < 7; cpu += 1) {
      const directory = `/sys/devices/system/cpu/cpu${cpu}/cpufreq`;
      await captured.change(`${directory}/base_frequency`, "2400000\n");
      await captured.change(`${directory}/cpuinfo_max_freq`, cpu < 4 ? "3700000\n" : "3600000\n");
      await captured.change(`${directory}/scaling_cur_freq`, `${1_000_000 + cpu * 100_000}\n`);
    }
    expect((await readInventory(captured.host)).hardware.cpu).toMatchObject({ baseMhz: 2400, maxMhz: 3700 });
    expect((await readHardwareUsage(captured.host)).currentMhz).toBe(1300);
  });
});

describe("the inventory of an aarch64 host", () => {
  it("names the cores from their identification register", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const { cpu, numa } = (await readInventory(captured.host)).hardware;
    expect(cpu).toMatchObject({
      model: "Cortex-A72",
      vendor: "ARM",
      architecture: "aarch64",
      sockets: 2,
      physicalCores: 4,
      threads: 4,
      threadsPerCore: 1,
      caches: [],
    });
    expect(numa.map(({ id, cpus, distances: list }) => ({ id, cpus, distances: list }))).toEqual([
      { id: 0, cpus: [0, 1], distances: distances(10, 20) },
      { id: 1, cpus: [2, 3], distances: distances(20, 10) },
    ]);
  });

  it("says why caches and the clock are missing, and claims virtualisation only where KVM runs", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const before = (await readInventory(captured.host)).hardware;
    expect(before.virtualization).toMatchObject({ hardware: true, technology: "Arm EL2", nestedPaging: true, iommu: true });
    expect(before.unavailable.map(({ field }) => field)).toEqual([
      ...["cpu.baseMhz", "cpu.maxMhz", "cpu.caches", "cpu.microcode", "virtualization.nested"],
      ...["vulnerabilities", "system", "board", "firmware"],
    ]);
    expect((await readHardwareUsage(captured.host)).unavailable.map(({ field }) => field)).toContain("cpu.currentMhz");
    await captured.remove("/sys/class/misc/kvm");
    const after = (await readInventory(captured.host)).hardware;
    expect(after.virtualization?.hardware).toBeUndefined();
    expect(after.unavailable).toContainEqual(expect.objectContaining({ field: "virtualization.hardware", reason: "NOT_SUPPORTED" }));
  });

  it("takes the device tree's name for a core that is in no table, and names both kinds of big.LITTLE", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const cpuinfo = await captured.host.read("/proc/cpuinfo");
    const blocks = cpuinfo.split("\n\n");
    blocks[1] = blocks[1]!.replace("0xd08", "0xd03");
    blocks[2] = blocks[2]!.replace("0xd08", "0xfff");
    await captured.change("/proc/cpuinfo", blocks.join("\n\n"));
    await captured.change("/proc/device-tree/cpus/cpu@2/compatible", "example,new-core\0");
    expect((await readInventory(captured.host)).hardware.cpu?.model).toBe("Cortex-A72 + Cortex-A53 + new-core");
  });

  it("leaves the model null with the numbers of an unknown core", async () => {
    await using captured = await openCapturedHost("aarch64-two-sockets-numa");
    const cpuinfo = await captured.host.read("/proc/cpuinfo");
    await captured.change("/proc/cpuinfo", cpuinfo.replaceAll("0x41", "0x99"));
    await captured.remove("/proc/device-tree");
    const { cpu, unavailable } = (await readInventory(captured.host)).hardware;
    expect([cpu?.model, cpu?.vendor]).toEqual([undefined, undefined]);
    expect(unavailable).toContainEqual({
      field: "cpu.model",
      reason: "NOT_SUPPORTED",
      message: "No name is known for CPU implementer 0x99 part 0xd08.",
    });
  });
});

describe("the inventory", () => {
  it("has the same digest for the same hardware and another after a change", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    const first = await readInventory(captured.host);
    await captured.change("/proc/meminfo", (await captured.host.read("/proc/meminfo")).replace(/MemFree: +\d+/, "MemFree: 1"));
    expect((await readInventory(captured.host)).digest).toBe(first.digest);
    await captured.change("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "16\n");
    expect((await readInventory(captured.host)).digest).not.toBe(first.digest);
  });

  it("is the same from the CPUs that are known, and reads them again when others are online", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-smt");
    const first = await readInventory(captured.host);
    const second = await readInventory(captured.host, first);
    expect([second.digest, second.hardware]).toEqual([first.digest, first.hardware]);
    expect(second.cpu).toBe(first.cpu);
    await captured.change("/sys/devices/system/cpu/online", "0-3\n");
    expect((await readInventory(captured.host, second)).hardware.cpu).toMatchObject({ sockets: 1, physicalCores: 2, threads: 4 });
  });

  it("survives an empty /sys and /proc with everything null and a reason for it", async () => {
    const host = new LocalHost({ sysRoot: "/nonexistent/sys", procRoot: "/nonexistent/proc" });
    const { hardware } = await readInventory(host);
    expect(hardware).toMatchObject({ cpu: undefined, memory: undefined, numa: [], hugePages: [] });
    expect(hardware.virtualization).toMatchObject({ hardware: undefined, nestedPaging: undefined, iommu: undefined, nested: undefined });
    const fields = hardware.unavailable.map(({ field }) => field);
    expect(fields).toEqual(
      expect.arrayContaining(["cpu", "memory", "numa", "hugePages", "virtualization.hardware", "virtualization.iommu"]),
    );
    const usage = await readHardwareUsage(host);
    expect(usage).toMatchObject({ memoryAvailableBytes: undefined, memoryUsedBytes: undefined, currentMhz: undefined, numa: [] });
  });

  it("notes a file with garbage as MALFORMED", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    await captured.change("/sys/devices/system/node/node1/cpulist", "4-x\n");
    await captured.change("/sys/devices/system/node/node0/distance", "10\n");
    const { numa, unavailable } = (await readInventory(captured.host)).hardware;
    expect([numa[0]?.distances, numa[1]?.cpus]).toEqual([[], []]);
    expect(unavailable.filter(({ reason }) => reason === "MALFORMED").map(({ field }) => field)).toEqual([
      "numa[0].distances",
      "numa[1].cpus",
    ]);
  });
});

describe("the usage", () => {
  it("counts as used what is not available, by node and by page size", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    await captured.change("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    const usage = await readHardwareUsage(captured.host);
    expect(usage.memoryUsedBytes! + usage.memoryAvailableBytes!).toBe((642_916 + 340_448) * 1024);
    expect(usage.hugePages[0]).toEqual({ sizeBytes: 2 * MIB, total: 8, free: 3 });
    expect(usage.numa).toEqual([
      { id: 0, memoryFreeBytes: 613_720 * 1024 },
      { id: 1, memoryFreeBytes: 288_076 * 1024 },
    ]);
    expect(usage.unavailable).toEqual([]);
  });
});

describe("GPUs and accelerators on the PCI bus", () => {
  it("are known by their class; a display card of another maker and a virtual function do not count", async () => {
    await using captured = await openCapturedHost("x86-two-sockets-iommu");
    expect(await countAccelerators(captured.host)).toBe(0);
    const add = async (address: string, deviceClass: string, vendor: string) => {
      await captured.change(`/sys/bus/pci/devices/${address}/class`, `${deviceClass}\n`);
      await captured.change(`/sys/bus/pci/devices/${address}/vendor`, `${vendor}\n`);
    };
    await add("0000:41:00.0", "0x030000", "0x10de");
    await add("0000:42:00.0", "0x030200", "0x10de");
    await add("0000:43:00.0", "0x038000", "0x1002");
    await add("0000:c1:00.0", "0x120000", "0x19e5");
    await add("0000:c1:00.1", "0x120000", "0x19e5");
    await captured.change("/sys/bus/pci/devices/0000:c1:00.1/physfn/class", "0x120000\n");
    await add("0000:03:00.0", "0x030000", "0x1a03");
    expect(await countAccelerators(captured.host)).toBe(4);
  });
});

describe("a kernel CPU list", () => {
  it("is read with single numbers, ranges and nothing", () => {
    expect(parseCpuList("0-3,8,10-11\n", "x")).toEqual([0, 1, 2, 3, 8, 10, 11]);
    expect(parseCpuList("\n", "x")).toEqual([]);
  });

  it("is refused where it is not one", () => {
    for (const text of ["1-", "a", "3-1", "0-99999999"]) expect(() => parseCpuList(text, "x")).toThrow(HostReadError);
  });
});

function distances(...values: number[]) {
  return values.map((distance, nodeId) => ({ nodeId, distance }));
}
