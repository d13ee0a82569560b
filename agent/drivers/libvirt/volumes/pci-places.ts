import { attribute, element, elements, type XmlElement, type XmlTree } from "../xml.ts";

export type DeviceKind = "disk" | "interface";

/** The places for devices on a domain's PCI buses, as numbers that grow in the order in which a guest finds what is there. */
export interface PciPlaces {
  /** Of the whole machine. */
  all: readonly number[];
  taken: ReadonlySet<number>;
  /** The last that has a device of the kind; −1: none has. */
  last: Readonly<Record<DeviceKind, number>>;
}

/** A bus has this many slots. */
const SLOTS = 32;
const NO_PLACES: PciPlaces = { all: [], taken: new Set(), last: { disk: -1, interface: -1 } };

/** None for a machine without PCI, or of another kind than the agent makes. */
export function readPciPlaces(domain: XmlElement): PciPlaces {
  const machine = attribute(element(domain, "os", "type"), "machine");
  const devices = element(domain, "devices");
  if (!/^(pc|q35)(-|$)/.test(machine)) return NO_PLACES;
  const ports = elements(devices, "controller").filter((controller) => attribute(controller, "model") === "pcie-root-port");
  const slots = Array.from({ length: SLOTS - 1 }, (_, index) => index + 1);
  const placed = (kind: string) => elements(devices, kind).flatMap((device) => placeOf(device) ?? []);
  return {
    all: /q35/.test(machine) ? ports.map((port) => Number(attribute(port, "index")) * SLOTS).sort((a, b) => a - b) : slots,
    taken: new Set(Object.keys(devices ?? {}).flatMap(placed)),
    last: { disk: Math.max(-1, ...placed("disk")), interface: Math.max(-1, ...placed("interface")) },
  };
}

/**
 * Where one more device goes, in each of these views of a domain: behind all of its kind, so that those keep their names in the guest when it is
 * booted again. Null: libvirt chooses.
 */
export function nextPlace(kind: DeviceKind, views: readonly PciPlaces[]): XmlTree | null {
  const [first] = views;
  const place = first?.all.find((one) => views.every(({ all, taken, last }) => all.includes(one) && !taken.has(one) && one > last[kind]));
  if (place === undefined) return null;
  return { "@type": "pci", "@domain": 0, "@bus": Math.floor(place / SLOTS), "@slot": place % SLOTS, "@function": 0 };
}

function placeOf(device: XmlElement): number | null {
  const address = element(device, "address");
  if (attribute(address, "type") !== "pci") return null;
  return Number(attribute(address, "bus")) * SLOTS + Number(attribute(address, "slot"));
}
