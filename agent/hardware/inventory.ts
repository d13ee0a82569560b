import { createHash } from "node:crypto";
import { HardwareInventory } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { readCpu } from "./cpu.ts";
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
}

/** The static part of the host's hardware. What cannot be read is undefined and listed in `unavailable`; it never throws for that. */
export async function readInventory(host: HostChannel): Promise<Inventory> {
  const unavailable = new Unavailable();
  const observedAt = new Date();
  const cpu = await unavailable.attempt("cpu", () => readCpu(host, unavailable));
  const memory = await unavailable.attempt("memory", () => readMemory(host, unavailable));
  const numa = (await unavailable.attempt("numa", () => readNuma(host, unavailable))) ?? [];
  const virtualization = await readVirtualization(host, unavailable);
  const pages = (await unavailable.attempt("hugePages", () => readHugePages(host, unavailable))) ?? [];
  const hugePages = pages.map(({ sizeBytes, total }) => ({ sizeBytes, total }));
  const hardware: HardwareInventory = { cpu, memory, numa, virtualization, hugePages, unavailable: unavailable.fields };
  const digest = createHash("sha256").update(HardwareInventory.encode(hardware).finish()).digest("hex");
  return { hardware, digest, observedAt };
}
