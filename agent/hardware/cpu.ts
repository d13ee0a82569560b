import type { CpuInventory } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { armCore } from "./arm-cores.ts";
import { CPU_CACHES_PATHS, readCpuCaches } from "./cpu-caches.ts";
import { parseCpuinfo, parseCpuList, readInteger } from "./kernel-text.ts";
import type { Unavailable } from "./unavailable.ts";

export const CPU_DIRECTORY = "/sys/devices/system/cpu";
export const ONLINE_CPUS = `${CPU_DIRECTORY}/online`;
const CPU = `${CPU_DIRECTORY}/cpu[0-9]*`;

export const CPU_PATHS = [
  "/proc/cpuinfo",
  ONLINE_CPUS,
  ...["topology/physical_package_id", "topology/core_cpus_list", "topology/thread_siblings_list"].map((file) => `${CPU}/${file}`),
  ...["cpufreq/base_frequency", "cpufreq/cpuinfo_max_freq", "acpi_cppc/nominal_freq", "microcode/version"].map((file) => `${CPU}/${file}`),
  "/proc/device-tree/cpus/cpu@*/compatible",
  "/proc/sys/kernel/arch",
  ...CPU_CACHES_PATHS,
];

/** The numbers of the logical CPUs that are online. */
export async function onlineCpus(host: HostChannel): Promise<number[]> {
  const path = ONLINE_CPUS;
  return parseCpuList(await host.read(path), path);
}

/** The host's CPUs. Throws HostReadError where not even the online CPUs can be listed. */
export async function readCpu(host: HostChannel, unavailable: Unavailable): Promise<CpuInventory> {
  const cpus = await onlineCpus(host);
  const names = (await unavailable.attempt("cpu.model", () => readNames(host))) ?? noNames(unavailable);
  if (names.model === undefined && names.missing) unavailable.add("cpu.model", "NOT_SUPPORTED", names.missing);
  if (names.vendor === undefined && names.missing) unavailable.add("cpu.vendor", "NOT_SUPPORTED", names.missing);
  const architecture = await host.architecture();
  if (architecture === null) unavailable.add("cpu.architecture", "NOT_PRESENT", "The kernel does not tell its architecture.");
  const cores = await unavailable.attempt("cpu.physicalCores", () => readCores(host, cpus));
  if (cores === undefined) unavailable.add("cpu.threadsPerCore", "NOT_PRESENT", "The cores' topology cannot be read.");
  return {
    model: names.model,
    vendor: names.vendor,
    architecture: architecture ?? "",
    sockets: await unavailable.attempt("cpu.sockets", () => readSockets(host, cpus)),
    physicalCores: cores?.count,
    threads: cpus.length,
    threadsPerCore: cores?.largest,
    baseMhz: await unavailable.attempt("cpu.baseMhz", () => readBaseMhz(host, cpus)),
    maxMhz: await unavailable.attempt("cpu.maxMhz", () => readMaxMhz(host, cpus)),
    caches: (await unavailable.attempt("cpu.caches", () => readCpuCaches(host, cpus, unavailable))) ?? [],
    microcode: await unavailable.attempt("cpu.microcode", () => readMicrocode(host, cpus[0] ?? 0)),
  };
}

/** x86 writes it in /proc/cpuinfo as well, also where the driver that loads it is missing. */
async function readMicrocode(host: HostChannel, cpu: number): Promise<string> {
  return firstOf(
    async () => (await host.read(`${CPU_DIRECTORY}/cpu${cpu}/microcode/version`)).trim(),
    async () => {
      const microcode = parseCpuinfo(await host.read("/proc/cpuinfo"))[0]?.get("microcode");
      if (microcode === undefined) throw new HostReadError("NOT_SUPPORTED", "/proc/cpuinfo", "The kernel tells no microcode.");
      return microcode;
    },
  );
}

interface CpuNames {
  model: string | undefined;
  vendor: string | undefined;
  /** Why one of the two is missing. */
  missing: string | null;
}

function noNames(unavailable: Unavailable): CpuNames {
  unavailable.add("cpu.vendor", "UNREADABLE", "/proc/cpuinfo cannot be read.");
  return { model: undefined, vendor: undefined, missing: null };
}

/** Model and vendor as lscpu spells them. x86 writes them in /proc/cpuinfo; Arm writes numbers, which a table names. */
async function readNames(host: HostChannel): Promise<CpuNames> {
  const cpus = parseCpuinfo(await host.read("/proc/cpuinfo"));
  const first = cpus[0];
  if (first?.has("vendor_id")) {
    const missing = first.has("model name") ? null : "/proc/cpuinfo has no model name.";
    return { model: first.get("model name"), vendor: first.get("vendor_id"), missing };
  }
  if (first?.has("CPU implementer")) return armNames(host, cpus);
  return { model: undefined, vendor: undefined, missing: "/proc/cpuinfo names neither a vendor nor an implementer." };
}

/** big.LITTLE hosts have cores of several kinds: all are named, in the order of the first CPU of each. */
async function armNames(host: HostChannel, cpus: Array<Map<string, string>>): Promise<CpuNames> {
  const models = new Set<string>();
  const vendors = new Set<string>();
  const unknown: string[] = [];
  for (const cpu of cpus) {
    const implementer = cpu.get("CPU implementer") ?? "";
    const part = cpu.get("CPU part") ?? "";
    const core = armCore(Number(implementer), Number(part));
    if (core.vendor) vendors.add(core.vendor);
    const model = core.model ?? (await deviceTreeName(host, cpu.get("processor") ?? ""));
    if (model) models.add(model);
    if (!core.vendor || !model) unknown.push(`implementer ${implementer} part ${part}`);
  }
  return {
    model: models.size > 0 ? [...models].join(" + ") : undefined,
    vendor: vendors.size > 0 ? [...vendors].join(" + ") : undefined,
    missing: unknown.length > 0 ? `No name is known for CPU ${[...new Set(unknown)].join(", ")}.` : null,
  };
}

/** What the device tree calls a core, such as "cortex-a72" of "arm,cortex-a72"; null without a device tree. */
async function deviceTreeName(host: HostChannel, cpu: string): Promise<string | null> {
  try {
    const compatible = await host.read(`/proc/device-tree/cpus/cpu@${Number(cpu).toString(16)}/compatible`);
    const name = compatible.split(/[\0\n]/)[0]?.trim() ?? "";
    return name.slice(name.indexOf(",") + 1) || null;
  } catch {
    return null;
  }
}

async function readSockets(host: HostChannel, cpus: number[]): Promise<number> {
  const packages = new Set<number>();
  for (const cpu of cpus) {
    const path = `${CPU_DIRECTORY}/cpu${cpu}/topology/physical_package_id`;
    const id = await readInteger(host, path);
    // Older Arm kernels without a topology table in the firmware.
    if (id < 0) throw new HostReadError("NOT_SUPPORTED", path, "The firmware does not describe the sockets.");
    packages.add(id);
  }
  return packages.size;
}

/** A core is a set of logical CPUs that share it: counting the sets needs no assumption on how core ids are given out. */
async function readCores(host: HostChannel, cpus: number[]): Promise<{ count: number; largest: number }> {
  const cores = new Map<string, number>();
  for (const cpu of cpus) {
    const directory = `${CPU_DIRECTORY}/cpu${cpu}/topology`;
    const siblings = await firstOf(
      () => host.read(`${directory}/core_cpus_list`),
      // The name before Linux 5.3.
      () => host.read(`${directory}/thread_siblings_list`),
    );
    cores.set(siblings.trim(), parseCpuList(siblings, directory).length);
  }
  return { count: cores.size, largest: Math.max(0, ...cores.values()) };
}

/** intel_pstate tells it in kHz, ACPI CPPC in MHz; nothing else in sysfs does. The highest of the host's CPUs. */
async function readBaseMhz(host: HostChannel, cpus: number[]): Promise<number> {
  return highest(cpus, (cpu) =>
    firstOf(
      async () => (await readInteger(host, `${CPU_DIRECTORY}/cpu${cpu}/cpufreq/base_frequency`)) / 1000,
      () => readInteger(host, `${CPU_DIRECTORY}/cpu${cpu}/acpi_cppc/nominal_freq`),
    ),
  );
}

async function readMaxMhz(host: HostChannel, cpus: number[]): Promise<number> {
  return highest(cpus, async (cpu) => (await readInteger(host, `${CPU_DIRECTORY}/cpu${cpu}/cpufreq/cpuinfo_max_freq`)) / 1000);
}

async function highest(cpus: number[], read: (cpu: number) => Promise<number>): Promise<number> {
  let value = 0;
  for (const cpu of cpus) value = Math.max(value, await read(cpu));
  // Some virtual firmware describes CPPC and leaves the frequency at 0.
  if (value <= 0) throw new HostReadError("NOT_SUPPORTED", CPU_DIRECTORY, "The firmware gives no frequency.");
  return value;
}

/** The second reading where the first has nothing; the first's error where both fail. */
async function firstOf<T>(first: () => Promise<T>, second: () => Promise<T>): Promise<T> {
  try {
    return await first();
  } catch (error) {
    return second().catch(() => Promise.reject(error));
  }
}
