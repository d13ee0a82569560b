import { createHash } from "node:crypto";
import { type CpuInventory, HardwareInventory } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { UnavailableField } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import type { HostChannel, HostNeeds } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { CPU_PATHS, onlineCpus, readCpu } from "./cpu.ts";
import { DMI_PATHS, readMachine } from "./dmi.ts";
import { HUGE_PAGES_PATHS, readHugePages } from "./huge-pages.ts";
import { readHardwareOverLibvirt } from "./libvirt/hardware.ts";
import { MEMINFO, readMemory } from "./memory.ts";
import { NUMA_PATHS, readNuma } from "./numa.ts";
import { Unavailable } from "./unavailable.ts";
import { readVirtualization, VIRTUALIZATION_PATHS } from "./virtualization.ts";
import { readVulnerabilities, VULNERABILITIES_PATHS } from "./vulnerabilities.ts";

export const HARDWARE_NEEDS: HostNeeds = {
  paths: [
    ...new Set([
      ...CPU_PATHS,
      MEMINFO,
      ...NUMA_PATHS,
      ...VIRTUALIZATION_PATHS,
      ...HUGE_PAGES_PATHS,
      ...VULNERABILITIES_PATHS,
      ...DMI_PATHS,
    ]),
  ],
  commands: [],
};

/** An inventory with what tells it from another. */
export interface Inventory {
  hardware: HardwareInventory;
  /** SHA-256 of the serialised message, hexadecimal: the same for the same hardware. */
  digest: string;
  observedAt: Date;
  /** For the next reading; null where the CPUs could not be listed. */
  cpu: CpuReading | null;
}

/** The CPUs as they were read while these were online. */
interface CpuReading {
  online: string;
  cpu: CpuInventory;
  unavailable: UnavailableField[];
}

/**
 * The static part of the host's hardware. What cannot be read is undefined and listed in `unavailable`; it never throws for that (but for a libvirt that is gone,
 * where the host is reached over libvirt alone).
 * `previous`: the CPUs are taken from it while the same ones are online. Theirs are twenty files for each, of which none else can change.
 */
export async function readInventory(host: HostChannel, previous: Inventory | null = null): Promise<Inventory> {
  const observedAt = new Date();
  if (host instanceof LibvirtOnlyHost) return withDigest({ hardware: await readHardwareOverLibvirt(host), observedAt, cpu: null });
  const unavailable = new Unavailable();
  const reading = (await unavailable.attempt("cpu", () => readCpuUnlessKnown(host, previous?.cpu ?? null))) ?? null;
  unavailable.fields.push(...(reading?.unavailable ?? []));
  const memory = await unavailable.attempt("memory", () => readMemory(host, unavailable));
  const numa = (await unavailable.attempt("numa", () => readNuma(host, unavailable))) ?? [];
  const virtualization = await readVirtualization(host, unavailable);
  const pages = (await unavailable.attempt("hugePages", () => readHugePages(host, unavailable))) ?? [];
  const hugePages = pages.map(({ sizeBytes, total }) => ({ sizeBytes, total }));
  const vulnerabilities = (await unavailable.attempt("vulnerabilities", () => readVulnerabilities(host))) ?? [];
  const machine = await readMachine(host, unavailable);
  const hardware = HardwareInventory.fromPartial({
    ...{ cpu: reading?.cpu, memory, numa, virtualization, hugePages, vulnerabilities },
    ...machine,
    unavailable: unavailable.fields,
  });
  return withDigest({ hardware, observedAt, cpu: reading });
}

function withDigest(reading: Omit<Inventory, "digest">): Inventory {
  return { ...reading, digest: createHash("sha256").update(HardwareInventory.encode(reading.hardware).finish()).digest("hex") };
}

async function readCpuUnlessKnown(host: HostChannel, known: CpuReading | null): Promise<CpuReading> {
  const online = (await onlineCpus(host)).join(",");
  if (known?.online === online) return known;
  const unavailable = new Unavailable();
  return { online, cpu: await readCpu(host, unavailable), unavailable: unavailable.fields };
}
