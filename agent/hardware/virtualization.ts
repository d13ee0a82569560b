import type { VirtualizationFeatures } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { parseCpuinfo } from "./kernel-text.ts";
import type { Unavailable } from "./unavailable.ts";

export const VIRTUALIZATION_PATHS = [
  "/proc/cpuinfo",
  "/sys/class/misc/kvm",
  "/sys/kernel",
  "/sys/class/iommu",
  "/sys/kernel/iommu_groups",
  "/sys/kernel/iommu_groups/*/name",
  "/sys/module/kvm_*/parameters/nested",
];

/** What the CPUs and the kernel offer to virtual machines. `/dev/kvm` proves nothing on x86: it may be there and not work. */
export async function readVirtualization(host: HostChannel, unavailable: Unavailable): Promise<VirtualizationFeatures> {
  const cpu = await readCpuFeatures(host, unavailable);
  return {
    hardware: cpu.hardware,
    technology: cpu.technology,
    nestedPaging: cpu.nestedPaging,
    iommu: await unavailable.attempt("virtualization.iommu", () => readIommu(host)),
    nested: await readNested(host, cpu, unavailable),
  };
}

interface CpuFeatures {
  hardware: boolean | undefined;
  technology: string;
  nestedPaging: boolean | undefined;
}

async function readCpuFeatures(host: HostChannel, unavailable: Unavailable): Promise<CpuFeatures> {
  const unknown: CpuFeatures = { hardware: undefined, technology: "", nestedPaging: undefined };
  const cpu = await unavailable.attempt("virtualization.hardware", async () => parseCpuinfo(await host.read("/proc/cpuinfo"))[0]);
  const flags = new Set(`${cpu?.get("flags") ?? ""} ${cpu?.get("vmx flags") ?? ""}`.split(/\s+/));
  if (cpu?.has("flags")) {
    if (flags.has("vmx")) return { hardware: true, technology: "VT-x", nestedPaging: flags.has("ept") };
    if (flags.has("svm")) return { hardware: true, technology: "AMD-V", nestedPaging: flags.has("npt") };
    return { hardware: false, technology: "", nestedPaging: false };
  }
  if (cpu?.has("CPU implementer")) {
    // Arm has no flag for it. KVM registers its device only where the kernel was started at EL2, which includes stage-2 translation.
    if (await isListed(host, "/sys/class/misc/kvm")) return { hardware: true, technology: "Arm EL2", nestedPaging: true };
    const message = "Arm shows virtualisation only through KVM, which is not there.";
    unavailable.add("virtualization.nestedPaging", "NOT_SUPPORTED", message);
    unavailable.add("virtualization.hardware", "NOT_SUPPORTED", message);
    return unknown;
  }
  if (cpu) unavailable.add("virtualization.hardware", "NOT_SUPPORTED", "/proc/cpuinfo lists no CPU features.");
  unavailable.add("virtualization.nestedPaging", "NOT_SUPPORTED", "The CPU's features are not known.");
  return unknown;
}

/** True where an IOMMU's driver registered a unit or groups devices; groups that VFIO makes up without an IOMMU do not count. */
async function readIommu(host: HostChannel): Promise<boolean> {
  // Told apart from a kernel without IOMMU support: there these directories are missing, and sysfs itself is not.
  await host.list("/sys/kernel");
  if ((await listOrEmpty(host, "/sys/class/iommu")).length > 0) return true;
  for (const group of await listOrEmpty(host, "/sys/kernel/iommu_groups")) {
    const name = await host.read(`/sys/kernel/iommu_groups/${group}/name`).catch(() => "");
    if (name.trim() !== "vfio-noiommu") return true;
  }
  return false;
}

async function readNested(host: HostChannel, cpu: CpuFeatures, unavailable: Unavailable): Promise<boolean | undefined> {
  // What the host itself does not have it cannot pass on.
  if (cpu.hardware === false) return false;
  const module = { "VT-x": "kvm_intel", "AMD-V": "kvm_amd" }[cpu.technology];
  if (module === undefined) {
    return unavailable.add("virtualization.nested", "NOT_SUPPORTED", "This architecture's KVM does not tell.");
  }
  return unavailable.attempt("virtualization.nested", async () => {
    const path = `/sys/module/${module}/parameters/nested`;
    const text = (await host.read(path).catch((error: unknown) => Promise.reject(explainModule(error, module, path)))).trim();
    return text === "Y" || text === "1";
  });
}

function explainModule(error: unknown, module: string, path: string): unknown {
  if (!(error instanceof HostReadError) || error.reason !== "NOT_PRESENT") return error;
  return new HostReadError("NOT_PRESENT", path, `The kernel module ${module} is not loaded.`, error);
}

async function listOrEmpty(host: HostChannel, path: string): Promise<string[]> {
  try {
    return await host.list(path);
  } catch (error) {
    if (error instanceof HostReadError && error.reason === "NOT_PRESENT") return [];
    throw error;
  }
}

async function isListed(host: HostChannel, path: string): Promise<boolean> {
  return host.list(path).then(
    () => true,
    () => false,
  );
}
