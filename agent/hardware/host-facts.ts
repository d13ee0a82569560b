import { HostInventory } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type HostChannel, type HostNeeds, HostReadError } from "../host/host-channel.ts";
import { DMI_DIRECTORY, readDmi } from "./dmi.ts";
import { malformed } from "./kernel-text.ts";
import { Unavailable } from "./unavailable.ts";

/** What the host's libvirt says about itself. */
export interface LibvirtFacts {
  /** As libvirt's capabilities have it. */
  hostUuid: string | null;
  /** "QEMU". */
  hypervisor: string;
  /** "7.2.22"; null where the hypervisor is not installed. */
  hypervisorVersion: string | null;
  /** "9.0.0". */
  libvirtVersion: string;
  /** What boots guests here, tried: null where nothing does. */
  virtualization: "kvm" | "qemu" | null;
}

const BOOT_ID = "/proc/sys/kernel/random/boot_id";
const KERNEL = "/proc/sys/kernel/osrelease";
const STATISTICS = "/proc/stat";
/** The second stands in where a host has no /etc of its own. */
const OS_RELEASE = ["/etc/os-release", "/usr/lib/os-release"] as const;

export const HOST_NEEDS: HostNeeds = { paths: [BOOT_ID, KERNEL, STATISTICS, ...OS_RELEASE, `${DMI_DIRECTORY}/product_uuid`], commands: [] };

/** Who the host is. `libvirt`: null where no libvirt answers. Never throws for what the host does not tell. */
export async function readHostFacts(host: HostChannel, libvirt: LibvirtFacts | null): Promise<HostInventory> {
  const unavailable = new Unavailable();
  const architecture = await unavailable.attempt("architecture", () => host.architecture());
  if (architecture === null) unavailable.add("architecture", "NOT_PRESENT", "The kernel does not tell its architecture.");
  const inventory = HostInventory.fromPartial({
    uuid: libvirt?.hostUuid ?? (await readDmi(host, "product_uuid", "uuid", unavailable))?.toLowerCase(),
    bootId: await unavailable.attempt("bootId", async () => (await host.read(BOOT_ID)).trim()),
    bootedAt: await unavailable.attempt("bootedAt", () => readBootTime(host)),
    operatingSystem: await unavailable.attempt("operatingSystem", () => readOperatingSystem(host)),
    kernel: await unavailable.attempt("kernel", async () => (await host.read(KERNEL)).trim()),
    architecture: architecture ?? undefined,
    hypervisor: libvirt?.hypervisor,
    hypervisorVersion: libvirt?.hypervisorVersion ?? undefined,
    libvirtVersion: libvirt?.libvirtVersion,
    virtualization: libvirt?.virtualization ?? undefined,
  });
  const missing = libvirt === null ? "No libvirt answers on this host." : "libvirt finds no hypervisor that works on this host.";
  for (const field of ["hypervisor", "hypervisorVersion", "libvirtVersion", "virtualization"] as const) {
    if (inventory[field] === undefined) unavailable.add(field, "NOT_PRESENT", missing);
  }
  return { ...inventory, unavailable: unavailable.fields };
}

async function readBootTime(host: HostChannel): Promise<Date> {
  const seconds = /^btime (\d+)$/m.exec(await host.read(STATISTICS))?.[1];
  if (seconds === undefined) throw new HostReadError("NOT_PRESENT", STATISTICS, `${STATISTICS} has no line btime.`);
  return new Date(Number(seconds) * 1000);
}

/** As os-release(5) names it for people, or by its name alone. */
async function readOperatingSystem(host: HostChannel): Promise<string> {
  const [first, second] = OS_RELEASE;
  const text = await host.read(first).catch(() => host.read(second));
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^([A-Z_]+)=(["']?)(.*)\2\s*$/.exec(line);
    if (match) fields.set(match[1] ?? "", (match[3] ?? "").replace(/\\([$"'`\\])/g, "$1"));
  }
  const name = fields.get("PRETTY_NAME") ?? fields.get("NAME");
  if (!name) throw malformed(first, text);
  return name;
}
