import { createHash } from "node:crypto";
import { type CpuInventory, HardwareInventory, type UnavailableField } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { onlineCpus, readCpu } from "./cpu.ts";
import { readHugePages } from "./huge-pages.ts";
import { readMemory } from "./memory.ts";
import { readNuma } from "./numa.ts";
import { Unavailable } from "./unavailable.ts";
import { readVirtualization } from "./virtualization.ts";

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
 * The static part of the host's hardware. What cannot be read is undefined and listed in `unavailable`; it never throws for that.
 * `previous`: the CPUs are taken from it while the same ones are online. Theirs are twenty files for each, of which none else can change.
 */
export async function readInventory(host: HostChannel, previous: Inventory | null = null): Promise<Inventory> {
  const unavailable = new Unavailable();
  const observedAt = new Date();
  const reading = (await unavailable.attempt("cpu", () => readCpuUnlessKnown(host, previous?.cpu ?? null))) ?? null;
  unavailable.fields.push(...(reading?.unavailable ?? []));
  const memory = await unavailable.attempt("memory", () => readMemory(host, unavailable));
  const numa = (await unavailable.attempt("numa", () => readNuma(host, unavailable))) ?? [];
  const virtualization = await readVirtualization(host, unavailable);
  const pages = (await unavailable.attempt("hugePages", () => readHugePages(host, unavailable))) ?? [];
  const hugePages = pages.map(({ sizeBytes, total }) => ({ sizeBytes, total }));
  const hardware: HardwareInventory = { cpu: reading?.cpu, memory, numa, virtualization, hugePages, unavailable: unavailable.fields };
  const digest = createHash("sha256").update(HardwareInventory.encode(hardware).finish()).digest("hex");
  return { hardware, digest, observedAt, cpu: reading };
}

async function readCpuUnlessKnown(host: HostChannel, known: CpuReading | null): Promise<CpuReading> {
  const online = (await onlineCpus(host)).join(",");
  if (known?.online === online) return known;
  const unavailable = new Unavailable();
  return { online, cpu: await readCpu(host, unavailable), unavailable: unavailable.fields };
}
