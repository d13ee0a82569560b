import {
  type CpuInventory,
  type FirmwareInfo,
  HardwareInventory,
  type SystemInfo,
  VirtualizationFeatures,
} from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { element, text, type XmlElement } from "../../drivers/libvirt/xml.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import { isFilledIn } from "../dmi.ts";
import { Unavailable } from "../unavailable.ts";
import { readMemoryOverLibvirt } from "./memory.ts";
import { attemptOverLibvirt, NOT_TOLD, readNodeDevices } from "./node-devices.ts";
import { type HostTopology, readTopology, threadsOf } from "./topology.ts";

const NEVER_TOLD = [
  ...["cpu.baseMhz", "cpu.maxMhz", "memory.swapTotalBytes", "vulnerabilities", "board", "firmware.type"],
  ...["virtualization.nestedPaging", "virtualization.nested"],
];
/** As lscpu writes them. */
const VENDORS: Record<string, string> = { Intel: "GenuineIntel", AMD: "AuthenticAMD", Hygon: "HygonGenuine" };
const TECHNOLOGIES: Record<string, string> = { Intel: "VT-x", AMD: "AMD-V", Hygon: "AMD-V" };
const CACHE_TYPES: Record<string, string> = { both: "Unified", code: "Instruction", data: "Data" };

/** CPUs, memory, NUMA cells and huge pages as libvirt's capabilities have them; the machine from DMI. Throws HostReadError where libvirt is gone. */
export async function readHardwareOverLibvirt(host: LibvirtOnlyHost): Promise<HardwareInventory> {
  const unavailable = new Unavailable();
  for (const field of NEVER_TOLD) unavailable.add(field, "NO_SHELL", NOT_TOLD);
  const topology = await attemptOverLibvirt(unavailable, "cpu", async () => readTopology(await host.capabilities()));
  if (topology === undefined)
    for (const field of ["numa", "hugePages"]) unavailable.add(field, "UNREADABLE", "libvirt gives no capabilities.");
  const memory = await attemptOverLibvirt(unavailable, "memory", () => readMemoryOverLibvirt(host));
  const [computer] = (await attemptOverLibvirt(unavailable, "system", () => readNodeDevices(host, "SYSTEM"))) ?? [];
  return HardwareInventory.fromPartial({
    cpu: topology && toCpu(topology, unavailable),
    memory: memory && { totalBytes: memory.totalBytes },
    numa: topology?.cells.map(({ id, cpus, memoryBytes, distances }) => ({
      ...{ id, distances, memoryTotalBytes: memoryBytes },
      cpus: cpus.map((cpu) => cpu.id),
    })),
    virtualization: topology && virtualizationOf(topology, unavailable),
    hugePages: topology && hugePagesOf(topology),
    ...machineOf(computer?.capability ?? null, unavailable),
    unavailable: unavailable.fields,
  });
}

function toCpu({ architecture, model, vendor, microcode, cells, caches }: HostTopology, unavailable: Unavailable): CpuInventory {
  const cpus = cells.flatMap((cell) => cell.cpus);
  const cores = new Set(cpus.map(({ siblings }) => siblings));
  if (model === undefined) unavailable.add("cpu.model", "NOT_SUPPORTED", "libvirt does not know the processor.");
  if (vendor === undefined) unavailable.add("cpu.vendor", "NOT_SUPPORTED", "libvirt does not know the processor.");
  if (microcode === undefined) unavailable.add("cpu.microcode", "NO_SHELL", NOT_TOLD);
  unavailable.add("cpu.caches", "NO_SHELL", "libvirt tells of the last level only.");
  const kinds = new Map(caches.map((cache) => [JSON.stringify(cache), cache]));
  return {
    ...{ architecture, model, vendor: vendor && (VENDORS[vendor] ?? vendor) },
    sockets: new Set(cpus.map(({ socket }) => socket)).size,
    physicalCores: cores.size,
    threads: cpus.length,
    threadsPerCore: Math.max(0, ...[...cores].map(threadsOf)),
    ...{ baseMhz: undefined, maxMhz: undefined },
    caches: [...kinds].map(([key, { level, type, sizeBytes }]) => ({
      ...{ level, type: CACHE_TYPES[type] ?? type, sizeBytes },
      instances: caches.filter((cache) => JSON.stringify(cache) === key).length,
    })),
    microcode: microcode === undefined ? undefined : `0x${microcode.toString(16)}`,
  };
}

/** Each size but the smallest, over all cells. */
function hugePagesOf({ cells }: HostTopology): Array<{ sizeBytes: number; total: number }> {
  const totals = new Map<number, number>();
  for (const { sizeBytes, total } of cells.flatMap(({ pages }) => pages)) totals.set(sizeBytes, (totals.get(sizeBytes) ?? 0) + total);
  const sizes = [...totals].map(([sizeBytes, total]) => ({ sizeBytes, total }));
  return sizes.sort((a, b) => a.sizeBytes - b.sizeBytes).slice(1);
}

/** libvirt lists KVM where it can be used; where it lists none, that may have many reasons. */
function virtualizationOf({ kvm, vendor = "", architecture, iommu }: HostTopology, unavailable: Unavailable): VirtualizationFeatures {
  if (!kvm) unavailable.add("virtualization.hardware", "NO_SHELL", "libvirt finds no KVM on the host, and does not tell why.");
  if (iommu === undefined) unavailable.add("virtualization.iommu", "NO_SHELL", NOT_TOLD);
  const technology = architecture === "aarch64" ? "Arm EL2" : (TECHNOLOGIES[vendor] ?? "");
  return VirtualizationFeatures.fromPartial({ hardware: kvm || undefined, technology: kvm ? technology : "", iommu });
}

/** As the firmware describes it (DMI); undefined, with the reason, where it describes nothing. */
function machineOf(computer: XmlElement | null, unavailable: Unavailable): { firmware?: FirmwareInfo; system?: SystemInfo } {
  const of = (parent: XmlElement | null, name: string) => {
    const value = text(element(parent, name)).trim();
    // A machine without DMI gets a uuid of zeros.
    return isFilledIn(value) && !/^[0-]+$/.test(value) ? value : undefined;
  };
  const [told, hardware] = [element(computer, "firmware"), element(computer, "hardware")];
  const firmware = { vendor: of(told, "vendor"), version: of(told, "version"), releaseDate: of(told, "release_date") };
  const [vendor, version, serial, uuid] = ["vendor", "version", "serial", "uuid"].map((name) => of(hardware, name));
  const system = { vendor, product: of(computer, "product"), version, serial, uuid: uuid?.toLowerCase() };
  const isTold = (values: object) => Object.values(values).some((value) => value !== undefined);
  for (const [field, values] of Object.entries({ firmware, system })) {
    if (!isTold(values))
      unavailable.add(field, "NOT_PRESENT", "libvirt tells nothing of it: the host has no DMI, or udev did not read it.");
  }
  return { ...(isTold(firmware) && { firmware: { type: "", ...firmware } }), ...(isTold(system) && { system }) };
}
