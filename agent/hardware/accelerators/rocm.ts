import { z } from "zod";
import { AcceleratorLink, AcceleratorVendor } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostCommand } from "../../host/host-channel.ts";
import {
  leadingNumber,
  mebibytes,
  pciAddress,
  type ToldAccelerator,
  toldAccelerator,
  toldText,
  type VendorProgram,
} from "./vendor-program.ts";

const WHAT_IT_IS = ["--showid", "--showvbios", "--showdriverversion", "--showproductname", "--showbus", "--showuniqueid", "--showserial"];
const MEASURED = ["--showuse", "--showmemuse", "--showmeminfo", "vram", "--showtemp", "--showpower"];

/** "card0": { "GPU use (%)": "0", … }, and "system". Some drivers write numbers as numbers. */
const report = z.record(z.string(), z.record(z.string(), z.union([z.string(), z.number()])));
type Card = z.infer<typeof report>[string];

/** AMD's rocm-smi. */
export const ROCM: VendorProgram = {
  ...rocmLike(AcceleratorVendor.AMD, 0x1002),
  commands: asked(["rocm-smi", "/opt/rocm/bin/rocm-smi"], [...WHAT_IT_IS, ...MEASURED, "--showtopo", "--json"]),
};

/** Hygon's hy-smi, which came from it. */
export const HYGON: VendorProgram = {
  ...rocmLike(AcceleratorVendor.HYGON, 0x1d94),
  commands: asked(["hy-smi", "/opt/hyhal/bin/hy-smi"], [...WHAT_IT_IS, ...MEASURED, "--json"]),
};

function asked(programs: readonly string[], args: readonly string[]): HostCommand[] {
  return programs.map((program) => ({ program, args }));
}

function rocmLike(vendor: AcceleratorVendor, pciVendorId: number): Omit<VendorProgram, "commands"> {
  return {
    ...{ vendor, pciVendorId, topology: null },
    parse(output) {
      const cards = report.parse(readJson(output));
      const system = cards.system ?? {};
      const driverVersion = toldText(value(system, /^Driver version$/i));
      const told = Object.entries(cards).flatMap(([name, card]) => {
        const index = /^card(\d+)$/.exec(name)?.[1];
        return index === undefined ? [] : [readCard(vendor, Number(index), card, driverVersion)];
      });
      return { told, links: linksOf(system, told) };
    },
  };
}

function readCard(vendor: AcceleratorVendor, index: number, card: Card, driverVersion: string | undefined): ToldAccelerator {
  const of = (name: RegExp) => value(card, name);
  const facts = {
    model: [/^Card series$/i, /^Device Name$/i, /^Card model$/i].map((name) => toldText(of(name))).find((one) => one !== undefined),
    uuid: toldText(of(/^Unique ID$/i)),
    serial: toldText(of(/^Serial Number$/i)),
    pciAddress: pciAddress(of(/^PCI Bus$/i)),
    driverVersion,
    firmwareVersion: toldText(of(/^VBIOS version$/i)),
    memoryTotalBytes: memory(card, "Total"),
    numaNode: numaNode(of(/Numa Node$/i)),
  };
  return toldAccelerator(vendor, index, facts, {
    memoryUsedBytes: memory(card, "Total Used"),
    utilizationPercent: leadingNumber(of(/^[DHG][CP]U use \(%\)$/i)),
    memoryUtilizationPercent: leadingNumber(of(/^[DHG][CP]U Memory Allocated \(VRAM%\)$|^[DHG][CP]U memory use \(%\)$/i)),
    temperatureCelsius: leadingNumber(of(/^Temperature \(Sensor edge\) \(C\)$/i) ?? of(/^Temperature \(Sensor junction\) \(C\)$/i)),
    powerWatts: leadingNumber(of(/^(?:Average|Current Socket) Graphics Package Power \(W\)$/i)),
    powerLimitWatts: leadingNumber(of(/^Max Graphics Package Power \(W\)$/i)),
  });
}

/** "(Topology) Link type between DRM devices 0 and 1": "XGMI". */
function linksOf(system: Card, told: readonly ToldAccelerator[]): AcceleratorLink[] {
  const ids = new Map(told.map(({ accelerator }) => [accelerator.index, accelerator.id]));
  return Object.entries(system).flatMap(([name, raw]) => {
    const [, first, second] = /Link type between DRM devices (\d+) and (\d+)$/.exec(name) ?? [];
    const [from, to] = [ids.get(Number(first)), ids.get(Number(second))];
    if (first === undefined || from === undefined || to === undefined) return [];
    const type = { XGMI: "xGMI", PCIE: "PCIe" }[String(raw)] ?? String(raw);
    return [AcceleratorLink.fromPartial({ from, to, type, raw: String(raw) })];
  });
}

/** In bytes, or (hy-smi) in MiB. */
function memory(card: Card, kind: "Total" | "Total Used"): number | undefined {
  const bytes = leadingNumber(value(card, new RegExp(`^VRAM ${kind} Memory \\(B\\)$`, "i")));
  return bytes ?? mebibytes(value(card, new RegExp(`^VRAM ${kind} Memory \\(MiB\\)$`, "i")));
}

/** Warnings may stand before it, and hy-smi leaves commas out between members. */
function readJson(output: string): unknown {
  const text = output.slice(Math.max(0, output.indexOf("{")));
  try {
    return JSON.parse(text);
  } catch {
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"(?=(\s*")?)/g, (string, next) => (next === undefined ? string : `${string},`)));
  }
}

/** -1: the host is not divided. */
function numaNode(text: string | undefined): number | undefined {
  const node = leadingNumber(text);
  return node === undefined || node < 0 ? undefined : node;
}

function value(card: Card, name: RegExp): string | undefined {
  const found = Object.entries(card).find(([key]) => name.test(key));
  return found === undefined ? undefined : String(found[1]);
}
