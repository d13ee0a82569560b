import type {
  Accelerator,
  Disk,
  NetworkInterface,
  PciDevice,
  UsbDevice,
} from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { ContentOf, InventoryPartName, Stored } from "./inventory-parts.ts";
import { knownList } from "./unavailable.ts";

export const HARDWARE_CHANGE_KINDS = [
  "DEVICE_ADDED",
  "DEVICE_REMOVED",
  "DEVICE_CHANGED",
  "LINK_UP",
  "LINK_DOWN",
  "DISK_FAILING",
  "DISK_RECOVERED",
] as const;

export type HardwareChangeKind = (typeof HARDWARE_CHANGE_KINDS)[number];

/** A piece of hardware in a list of a part: how two readings of it are told apart. */
export interface HardwareSubject<T> {
  /** Unique in the list, and the same as long as it is the same piece. */
  id(item: T): string;
  /** For people. */
  name(item: T): string;
  /** What counts as a change: without what moves by itself, such as temperatures and free space. */
  lasting(item: T): object;
  /** Whether another piece has taken its place, under the same id. */
  isAnother?(before: T, after: T): boolean;
  /** A change that has a name of its own. `before` is undefined where it is new or nothing was known. */
  turn?(before: T | undefined, after: T): { kind: HardwareChangeKind; what: string } | null;
}

/** What a part has, with how it is compared. `items` is null where it could not be read. */
export interface HardwareList<T = never> {
  subject: HardwareSubject<T>;
  items(content: never): T[] | null;
}

const PCI: HardwareSubject<Stored<PciDevice>> = {
  id: ({ address }) => address,
  name: ({ address, deviceName, className }) => `${deviceName ?? className ?? "PCI device"} (${address})`,
  // Links go down to save power, and up again.
  lasting: ({ link, ...rest }) => ({ ...rest, maxSpeed: link?.maxSpeedGts, maxWidth: link?.maxWidth }),
  isAnother: (before, after) => before.vendorId !== after.vendorId || before.deviceId !== after.deviceId,
};

const USB: HardwareSubject<Stored<UsbDevice>> = {
  id: ({ port }) => port,
  name: ({ port, productName, className }) => `${productName ?? className ?? "USB device"} (${port})`,
  lasting: (device) => device,
  isAnother: (before, after) =>
    before.device !== after.device ||
    before.vendorId !== after.vendorId ||
    before.productId !== after.productId ||
    before.serial !== after.serial,
};

const NETWORK: HardwareSubject<Stored<NetworkInterface>> = {
  id: ({ name }) => name,
  name: ({ name }) => `Network interface ${name}`,
  lasting: (networkInterface) => networkInterface,
  isAnother: (before, after) => before.index !== after.index,
  turn: (before, after) => {
    if (before === undefined || isUp(before) === isUp(after)) return null;
    return isUp(after) ? { kind: "LINK_UP", what: "is up." } : { kind: "LINK_DOWN", what: "is down." };
  },
};

const HEALTH_RANKS: Record<string, number> = { DISK_HEALTH_HEALTHY: 0, DISK_HEALTH_WARNING: 1, DISK_HEALTH_FAILED: 2 };

const DISKS: HardwareSubject<Stored<Disk>> = {
  id: ({ name }) => name,
  name: ({ name, model }) => `Disk ${name}${model === undefined ? "" : ` (${model})`}`,
  lasting: ({ smart, fileSystem, partitions, ...rest }) => ({
    ...rest,
    health: smart?.health,
    problems: smart?.problems,
    fileSystem: { ...fileSystem, availableBytes: undefined },
    partitions: partitions.map((one) => ({ ...one, fileSystem: { ...one.fileSystem, availableBytes: undefined } })),
  }),
  isAnother: (before, after) => differs(before.serial, after.serial) || differs(before.wwn, after.wwn),
  turn: (before, after) => {
    const [was, is] = [before, after].map((disk) => HEALTH_RANKS[disk?.smart?.health ?? ""]);
    if (is === undefined) return null;
    if (is > (was ?? 0))
      return { kind: "DISK_FAILING", what: `is failing: ${after.smart?.problems.join(" ") || "its SMART health is bad."}` };
    return is === 0 && was !== undefined && was > 0 ? { kind: "DISK_RECOVERED", what: "is healthy again." } : null;
  },
};

const ACCELERATORS: HardwareSubject<Stored<Accelerator>> = {
  id: ({ id }) => id,
  name: ({ id, model }) => `Accelerator ${model ?? ""} (${id})`.replace("  ", " "),
  lasting: (accelerator) => accelerator,
};

/** The parts whose changes are told. */
export const HARDWARE_LISTS: Partial<Record<InventoryPartName, HardwareList>> = {
  PCI: list(PCI, (content: ContentOf<"PCI">) => knownList(content, "devices", content.devices)),
  USB: list(USB, (content: ContentOf<"USB">) => knownList(content, "devices", content.devices)),
  NETWORK: list(NETWORK, (content: ContentOf<"NETWORK">) => knownList(content, "interfaces", content.interfaces)),
  DISKS: list(DISKS, (content: ContentOf<"DISKS">) => knownList(content, "disks", content.disks)),
  ACCELERATORS: list(ACCELERATORS, (content: ContentOf<"ACCELERATORS">) => knownList(content, "accelerators", content.accelerators)),
};

function list<T, Content>(subject: HardwareSubject<T>, items: (content: Content) => T[] | null): HardwareList {
  return { subject, items } as unknown as HardwareList;
}

/** Switched on, and with a carrier; where the driver does not tell of one, by the kernel's word. */
function isUp({ enabled, carrier, state }: Stored<NetworkInterface>): boolean {
  return enabled && (carrier ?? state === "UP");
}

/** What could not be read one time is no difference. */
function differs(before: string | undefined, after: string | undefined): boolean {
  return before !== undefined && after !== undefined && before !== after;
}
