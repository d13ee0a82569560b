import { XMLParser } from "fast-xml-parser";
import { AcceleratorVendor } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { linksInMatrix } from "./topology-matrix.ts";
import {
  leadingNumber,
  mebibytes,
  pciAddress,
  type ToldAccelerator,
  toldAccelerator,
  toldText,
  type VendorProgram,
  type VendorReport,
} from "./vendor-program.ts";

const REPEATED = new Set(["gpu", "mig_device", "process_info"]);
const MAX_PROCESSES = 1000;

const parser = new XMLParser({ parseTagValue: false, isArray: (name) => REPEATED.has(name) });

type Tree = { readonly [name: string]: unknown };

/** nvidia-smi: the XML of its whole report (its layout is nvsmi_device_v10.dtd to _v13.dtd), and the matrix of links. */
export const NVIDIA: VendorProgram = {
  vendor: AcceleratorVendor.NVIDIA,
  pciVendorId: 0x10de,
  commands: [{ program: "nvidia-smi", args: ["-q", "-x"] }],
  topology: { program: "nvidia-smi", args: ["topo", "-m"] },
  parse(output, topology): VendorReport {
    const log = tree((parser.parse(output) as Tree).nvidia_smi_log);
    if (log === null) throw new TypeError("nvidia-smi wrote no report.");
    const driverVersion = toldText(text(log, "driver_version"));
    const told = list(log, "gpu").map((gpu, index) => readGpu(gpu, index, driverVersion));
    const ids = told.map(({ accelerator }) => accelerator.id);
    return { told, links: topology === null ? [] : linksInMatrix(topology, "GPU", ids) };
  },
};

function readGpu(gpu: Tree, index: number, driverVersion: string | undefined): ToldAccelerator {
  const of = (...path: string[]) => text(gpu, ...path);
  const facts = {
    model: toldText(of("product_name")),
    uuid: toldText(of("uuid")),
    serial: toldText(of("serial")),
    pciAddress: pciAddress(of("pci", "pci_bus_id")),
    driverVersion,
    firmwareVersion: toldText(of("vbios_version")),
    memoryTotalBytes: mebibytes(of("fb_memory_usage", "total")),
    partitions: list(gpu, "mig_devices", "mig_device").map(partition),
  };
  // Its layout changed with drivers 535 and 550.
  const power = ["gpu_power_readings", "power_readings"].map((name) => tree(gpu[name])).find((one) => one !== null) ?? {};
  const draw = ["instant_power_draw", "power_draw", "average_power_draw"].map((name) => leadingNumber(text(power, name)));
  const limit = ["current_power_limit", "enforced_power_limit", "power_limit"].map((name) => leadingNumber(text(power, name)));
  const ecc = tree(tree(gpu.ecc_errors)?.volatile);
  return toldAccelerator(AcceleratorVendor.NVIDIA, index, facts, {
    memoryUsedBytes: mebibytes(of("fb_memory_usage", "used")),
    utilizationPercent: leadingNumber(of("utilization", "gpu_util")),
    memoryUtilizationPercent: leadingNumber(of("utilization", "memory_util")),
    temperatureCelsius: leadingNumber(of("temperature", "gpu_temp")),
    powerWatts: draw.find((watts) => watts !== undefined),
    powerLimitWatts: limit.find((watts) => watts !== undefined),
    eccCorrectedErrors: errors(ecc, /^(?:sram|dram)_correctable/, "single_bit"),
    eccUncorrectedErrors: errors(ecc, /^(?:sram|dram)_uncorrectable/, "double_bit"),
    processes: list(gpu, "processes", "process_info")
      .slice(0, MAX_PROCESSES)
      .map((process) => ({
        pid: leadingNumber(text(process, "pid")) ?? 0,
        name: toldText(text(process, "process_name")),
        memoryBytes: mebibytes(text(process, "used_memory")),
      })),
  });
}

/** The sum of the counters of that name; before driver 450 there were totals of single and double bits. */
function errors(ecc: Tree | null, name: RegExp, bits: string): number | undefined {
  if (ecc === null) return undefined;
  const counters = Object.keys(ecc).filter((key) => name.test(key));
  const told = counters.flatMap((key) => leadingNumber(text(ecc, key)) ?? []);
  if (told.length > 0) return told.reduce((sum, count) => sum + count, 0);
  return leadingNumber(text(ecc, bits, "total"));
}

function partition(mig: Tree): string {
  const [gpuInstance, computeInstance] = [text(mig, "gpu_instance_id"), text(mig, "compute_instance_id")];
  return `GI ${gpuInstance} CI ${computeInstance}: ${text(mig, "fb_memory_usage", "total")}`;
}

function tree(value: unknown): Tree | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Tree) : null;
}

/** "" where there is none. */
function text(of: Tree, ...path: string[]): string {
  let at: unknown = of;
  for (const name of path) at = tree(at)?.[name];
  return typeof at === "string" ? at : "";
}

function list(of: Tree, ...path: string[]): Tree[] {
  let at: unknown = of;
  for (const name of path) at = tree(at)?.[name];
  return Array.isArray(at) ? at.map(tree).filter((one) => one !== null) : [];
}
