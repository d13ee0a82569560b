import { attribute, element, elements, parseXml, text, type XmlElement } from "../../drivers/libvirt/xml.ts";
import { parseCpuList } from "../kernel-text.ts";
import { wholeNumber } from "./node-devices.ts";

/** What libvirt's capabilities say of the host's processors and memory. */
export interface HostTopology {
  architecture: string;
  /** The processor that libvirt knows and that comes nearest: "Broadwell-noTSX-IBRS". */
  model: string | undefined;
  /** "Intel", "AMD", … */
  vendor: string | undefined;
  microcode: number | undefined;
  /** Undefined where libvirt does not tell. */
  iommu: boolean | undefined;
  /** /dev/kvm can be opened. */
  kvm: boolean;
  cells: NumaCell[];
  caches: CacheBank[];
}

export interface NumaCell {
  id: number;
  memoryBytes: number | undefined;
  cpus: HostCpu[];
  distances: Array<{ nodeId: number; distance: number }>;
  /** Of each size, the base size included. */
  pages: Array<{ sizeBytes: number; total: number }>;
}

/** One that is online. */
export interface HostCpu {
  id: number;
  socket: number;
  /** The logical CPUs of its core: "0-1". */
  siblings: string;
}

export interface CacheBank {
  level: number;
  /** "both", "code", "data". */
  type: string;
  sizeBytes: number;
}

const UNITS: Record<string, number> = { "": 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

export function readTopology(xml: string): HostTopology {
  const capabilities = parseXml(xml, "capabilities");
  const host = element(capabilities, "host");
  const cpu = element(host, "cpu");
  const architecture = text(element(cpu, "arch"));
  const iommu = attribute(element(host, "iommu"), "support");
  return {
    architecture,
    model: text(element(cpu, "model")) || undefined,
    vendor: text(element(cpu, "vendor")) || undefined,
    microcode: wholeNumber(attribute(element(cpu, "microcode"), "version")),
    iommu: iommu === "" ? undefined : iommu === "yes",
    kvm: elements(capabilities, "guest")
      .flatMap((guest) => elements(guest, "arch"))
      .filter((arch) => attribute(arch, "name") === architecture)
      .some((arch) => elements(arch, "domain").some((domain) => attribute(domain, "type") === "kvm")),
    cells: elements(element(host, "topology", "cells"), "cell").map(toCell),
    caches: elements(element(host, "cache"), "bank").map((bank) => ({
      level: wholeNumber(attribute(bank, "level")) ?? 0,
      type: attribute(bank, "type"),
      sizeBytes: inBytes(bank, attribute(bank, "size")) ?? 0,
    })),
  };
}

/** How many logical CPUs a core has, by its siblings. */
export function threadsOf(siblings: string): number {
  return parseCpuList(siblings, "siblings").length;
}

function toCell(cell: XmlElement): NumaCell {
  const memory = element(cell, "memory");
  return {
    id: wholeNumber(attribute(cell, "id")) ?? 0,
    memoryBytes: inBytes(memory, text(memory)),
    cpus: elements(element(cell, "cpus"), "cpu").flatMap((one) => {
      const [id, socket] = ["id", "socket_id"].map((name) => wholeNumber(attribute(one, name)));
      // One that is off has nothing but its number.
      return id === undefined || socket === undefined ? [] : [{ id, socket, siblings: attribute(one, "siblings") }];
    }),
    distances: elements(element(cell, "distances"), "sibling").map((one) => ({
      nodeId: wholeNumber(attribute(one, "id")) ?? 0,
      distance: wholeNumber(attribute(one, "value")) ?? 0,
    })),
    pages: elements(cell, "pages").map((one) => ({
      sizeBytes: inBytes(one, attribute(one, "size")) ?? 0,
      total: wholeNumber(text(one)) ?? 0,
    })),
  };
}

function inBytes(of: XmlElement | null, value: string): number | undefined {
  const [number, unit] = [wholeNumber(value.trim()), UNITS[attribute(of, "unit")]];
  return number === undefined || unit === undefined ? undefined : number * unit;
}
