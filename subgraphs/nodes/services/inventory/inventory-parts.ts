import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { HardwareInventory, ReportInventoryRequest } from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import {
  type AcceleratorInventory,
  type DiskInventory,
  type HostInventory,
  InventoryPart,
  type NetworkInventory,
  type PciInventory,
  type UsbInventory,
} from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";

export const INVENTORY_PARTS = ["HARDWARE", "HOST", "PCI", "USB", "NETWORK", "DISKS", "ACCELERATORS"] as const;

/** What a node's inventory is reported, stored and read by. */
export type InventoryPartName = (typeof INVENTORY_PARTS)[number];

interface PartContents {
  HARDWARE: HardwareInventory;
  HOST: HostInventory;
  PCI: PciInventory;
  USB: UsbInventory;
  NETWORK: NetworkInventory;
  DISKS: DiskInventory;
  ACCELERATORS: AcceleratorInventory;
}

/** A message as its JSON is: times are ISO text, and what is not set may be missing. */
export type Stored<T> = T extends Date
  ? string
  : T extends ReadonlyArray<infer Item>
    ? Array<Stored<Item>>
    : T extends object
      ? { [K in keyof T as undefined extends T[K] ? never : K]: Stored<T[K]> } & {
          [K in keyof T as undefined extends T[K] ? K : never]?: Stored<Exclude<T[K], undefined>>;
        }
      : T;

export type ContentOf<Part extends InventoryPartName> = Stored<PartContents[Part]>;
export type StoredContent = ContentOf<InventoryPartName>;

/** Where a report has each part. */
const REQUEST_FIELDS = {
  HARDWARE: "hardware",
  HOST: "host",
  PCI: "pci",
  USB: "usb",
  NETWORK: "network",
  DISKS: "disks",
  ACCELERATORS: "accelerators",
} as const satisfies Record<InventoryPartName, keyof ReportInventoryRequest>;

const PROTO_PREFIX = "INVENTORY_PART_";

/** Throws INVALID_ARGUMENT for a part that this version does not know. */
export function partOf(part: InventoryPart): InventoryPartName {
  if (part === InventoryPart.UNSPECIFIED) return "HARDWARE";
  const found = INVENTORY_PARTS.find((name) => part === `${PROTO_PREFIX}${name}`);
  if (found === undefined) throw invalidArgument("part", "This part of an inventory is not known here.");
  return found;
}

/** The content of the part that a report is about; null where it offers the digest alone. Throws INVALID_ARGUMENT where it has another part's. */
export function contentOf(request: ReportInventoryRequest, part: InventoryPartName): PartContents[InventoryPartName] | null {
  for (const name of INVENTORY_PARTS) {
    if (name !== part && request[REQUEST_FIELDS[name]] !== undefined) {
      throw invalidArgument(REQUEST_FIELDS[name], `A report about the part ${part} may have nothing of another part.`, { part });
    }
  }
  return request[REQUEST_FIELDS[part]] ?? null;
}
