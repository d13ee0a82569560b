import {
  Accelerator,
  type AcceleratorLink,
  AcceleratorSample,
  type AcceleratorVendor,
} from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostCommand } from "../../host/host-channel.ts";

/** One accelerator as its vendor's program tells of it: what stays, and what changes. */
export interface ToldAccelerator {
  accelerator: Accelerator;
  sample: AcceleratorSample;
}

export interface VendorReport {
  /** In the program's order. */
  told: ToldAccelerator[];
  links: AcceleratorLink[];
}

/** How the accelerators of one vendor are asked for. */
export interface VendorProgram {
  readonly vendor: AcceleratorVendor;
  /** As PCI numbers it. */
  readonly pciVendorId: number;
  /** The same question to the places where the program may be; the first answer counts. */
  readonly commands: readonly HostCommand[];
  /** How they are connected; null where the program cannot tell, or tells it with everything else. */
  readonly topology: HostCommand | null;
  /** Throws a TypeError for an output that it does not understand. */
  parse(output: string, topology: string | null): VendorReport;
}

type AcceleratorFacts = Omit<Partial<Accelerator>, "id" | "vendor">;

/** `index`: the vendor's own number. `id` is the vendor's UUID or serial number, else the PCI address. */
export function toldAccelerator(
  vendor: AcceleratorVendor,
  index: number,
  facts: AcceleratorFacts,
  sample: Omit<Partial<AcceleratorSample>, "id">,
): ToldAccelerator {
  const id = facts.uuid ?? facts.serial ?? facts.pciAddress ?? `${vendor.replace("ACCELERATOR_VENDOR_", "").toLowerCase()}-${index}`;
  // No vendor's rules were tried on a capture of the project's own yet.
  const accelerator = Accelerator.fromPartial({ ...facts, id, vendor, index, experimental: true });
  return { accelerator, sample: AcceleratorSample.fromPartial({ ...sample, id }) };
}

/** Programs write "00000000:C1:00.0" where the kernel writes "0000:c1:00.0". Undefined for what is no address. */
export function pciAddress(text: string | undefined): string | undefined {
  const [, domain, rest] = /^([0-9a-f]{4,8}):([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])$/i.exec(text?.trim() ?? "") ?? [];
  if (domain === undefined || rest === undefined) return undefined;
  return `${Number.parseInt(domain, 16).toString(16).padStart(4, "0")}:${rest.toLowerCase()}`;
}

/** The number that a text begins with, whatever its unit; undefined for "N/A" and the like. */
export function leadingNumber(text: string | undefined): number | undefined {
  const match = /^\s*(-?\d+(?:\.\d+)?)/.exec(text ?? "");
  return match === null ? undefined : Number(match[1]);
}

const MIB = 1024 * 1024;

/** A size that is told in MiB, as bytes. */
export function mebibytes(text: string | undefined): number | undefined {
  const value = leadingNumber(text);
  return value === undefined ? undefined : Math.round(value * MIB);
}

export function toldText(text: string | undefined): string | undefined {
  const told = text?.trim() ?? "";
  return told === "" || /^(?:\[?N\/A\]?|unknown|none|not supported|-)$/i.test(told) ? undefined : told;
}
