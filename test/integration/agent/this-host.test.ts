import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import os from "node:os";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { readCapacity } from "../../../agent/capacity.ts";
import { HostConditions } from "../../../agent/conditions.ts";
import { readInventory } from "../../../agent/hardware/inventory.ts";
import { readHardwareUsage } from "../../../agent/hardware/usage.ts";
import { LocalHost } from "../../../agent/host/local.ts";

const run = promisify(execFile);
const host = new LocalHost();

describe("this machine's hardware, read from its own /sys and /proc", () => {
  it("is what lscpu says about the CPUs", async () => {
    const { cpu } = (await readInventory(host)).hardware;
    const lscpu = await lscpuFields();
    const sockets = Number(lscpu.get("Socket(s)"));
    expect(cpu).toMatchObject({
      model: lscpu.get("Model name"),
      vendor: lscpu.get("Vendor ID"),
      architecture: lscpu.get("Architecture"),
      sockets,
      physicalCores: sockets * Number(lscpu.get("Core(s) per socket")),
      threads: os.availableParallelism(),
      threadsPerCore: Number(lscpu.get("Thread(s) per core")),
    });
  });

  it("has lscpu's caches, with the sizes of single ones", async () => {
    const { stdout } = await run("lscpu", ["--caches", "--json", "--bytes"]);
    const expected = (JSON.parse(stdout) as { caches: Array<Record<string, string | number>> }).caches.map((cache) => ({
      level: Number(cache.level),
      type: cache.type,
      sizeBytes: Number(cache["one-size"]),
      instances: Number(cache["all-size"]) / Number(cache["one-size"]),
    }));
    const { cpu } = (await readInventory(host)).hardware;
    expect(cpu?.caches).toEqual(expect.arrayContaining(expected));
    expect(cpu?.caches).toHaveLength(expected.length);
  });

  it("has all of the memory of /proc/meminfo, and uses what `free` says", async () => {
    const { memory } = (await readInventory(host)).hardware;
    const usage = await readHardwareUsage(host);
    expect(memory?.totalBytes).toBe(os.totalmem());
    const { stdout } = await run("free", ["--bytes"]);
    const [, total, , , , , available] = (stdout.split("\n")[1] ?? "").split(/\s+/).map(Number);
    expect(total).toBe(memory?.totalBytes);
    expect(usage.memoryUsedBytes! + usage.memoryAvailableBytes!).toBe(total);
    // Two readings of a machine that is at work.
    expect(Math.abs(usage.memoryAvailableBytes! - available!)).toBeLessThan(total! / 4);
  });

  it("has the NUMA nodes with the CPUs that lscpu lists", async () => {
    const { numa } = (await readInventory(host)).hardware;
    const lscpu = await lscpuFields();
    expect(numa).toHaveLength(Number(lscpu.get("NUMA node(s)")));
    for (const node of numa) {
      expect(lscpu.get(`NUMA node${node.id} CPU(s)`)).toBe(asList(node.cpus));
      expect(node.distances.find(({ nodeId }) => nodeId === node.id)?.distance).toBe(10);
    }
  });

  it("claims virtualisation only where a CPU flag says so", async () => {
    const { virtualization } = (await readInventory(host)).hardware;
    const flags = readFileSync("/proc/cpuinfo", "utf8")
      .match(/^flags\s*: (.*)$/m)?.[1]
      ?.split(" ");
    if (flags) expect(virtualization?.hardware).toBe(flags.includes("vmx") || flags.includes("svm"));
    expect((await readInventory(host)).hardware.virtualization).toEqual(virtualization);
  });

  it("gives each null value a reason", async () => {
    const { hardware } = await readInventory(host);
    const reasons = new Set(hardware.unavailable.map(({ field }) => field));
    for (const field of ["model", "vendor", "sockets", "physicalCores", "threadsPerCore", "baseMhz", "maxMhz"] as const) {
      expect(hardware.cpu?.[field] === undefined).toBe(reasons.has(`cpu.${field}`));
    }
    for (const field of ["hardware", "nestedPaging", "iommu", "nested"] as const) {
      expect(hardware.virtualization?.[field] === undefined).toBe(reasons.has(`virtualization.${field}`));
    }
  });

  it("gives the capacity that nproc, /proc/meminfo and df show", async () => {
    const disk = await statfs(os.tmpdir());
    expect(await readCapacity(host, os.tmpdir())).toMatchObject({
      cpuCores: Number((await run("nproc", ["--all"])).stdout),
      memoryBytes: os.totalmem(),
      diskBytes: disk.blocks * disk.bsize,
    });
  });

  it("can be judged: no condition is Unknown", async () => {
    const conditions = await new HostConditions(host, os.tmpdir()).read();
    expect(conditions.filter(({ status }) => status === "Unknown")).toEqual([]);
    expect(conditions).toContainEqual(expect.objectContaining({ type: "Ready", status: "True" }));
  });
});

async function lscpuFields(): Promise<Map<string, string>> {
  interface Field {
    field: string;
    data: string | null;
    children?: Field[];
  }
  const { stdout } = await run("lscpu", ["--json"], { env: { ...process.env, LC_ALL: "C" } });
  const fields = new Map<string, string>();
  const visit = (list: Field[]) => {
    for (const { field, data, children } of list) {
      fields.set(field.replace(/:$/, ""), data ?? "");
      visit(children ?? []);
    }
  };
  visit((JSON.parse(stdout) as { lscpu: Field[] }).lscpu);
  return fields;
}

/** As the kernel and lscpu write it: "0-3,8" or, for two neighbours, "0,1". */
function asList(cpus: number[]): string {
  const parts: string[] = [];
  for (let start = 0; start < cpus.length; ) {
    let end = start;
    while (cpus[end + 1] === cpus[end]! + 1) end += 1;
    if (end - start < 2) parts.push(...cpus.slice(start, end + 1).map(String));
    else parts.push(`${cpus[start]}-${cpus[end]}`);
    start = end + 1;
  }
  return parts.join(",");
}
