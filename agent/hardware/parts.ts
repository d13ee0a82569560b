import { createHash } from "node:crypto";
import { HardwareInventory, type ReportInventoryRequest } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import {
  AcceleratorInventory,
  DiskInventory,
  HostInventory,
  InventoryPart,
  NetworkInventory,
  PciInventory,
  UsbInventory,
} from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { ACCELERATOR_NEEDS, readAccelerators } from "./accelerators/accelerators.ts";
import type { DeviceUsers } from "./device-users.ts";
import { DISK_NEEDS, readDisks } from "./disks/disks.ts";
import { steadyDisks, withSmart } from "./disks/smart.ts";
import { HOST_NEEDS, type LibvirtFacts, readHostFacts } from "./host-facts.ts";
import { HARDWARE_NEEDS, type Inventory, readInventory } from "./inventory.ts";
import { readDisksOverLibvirt } from "./libvirt/disks.ts";
import { readNetworkOverLibvirt } from "./libvirt/network.ts";
import { readPciOverLibvirt } from "./libvirt/pci.ts";
import { readUsbOverLibvirt } from "./libvirt/usb.ts";
import { NETWORK_NEEDS, readNetwork } from "./network/network.ts";
import { PCI_NEEDS, readPci, steadyPci } from "./pci/pci.ts";
import { readUsb, USB_NEEDS } from "./usb/usb.ts";
import type { SmartWatch } from "./watch/smart-watch.ts";

type ContentField = "hardware" | "host" | "pci" | "usb" | "network" | "disks" | "accelerators";
export type PartContent = Partial<Pick<ReportInventoryRequest, ContentField>>;

/** One part of the inventory as it was read. */
export interface PartReading {
  part: InventoryPart;
  /** Holds the one field of this part. */
  content: PartContent;
  /** SHA-256, hexadecimal: another one where there is something to report. */
  digest: string;
  observedAt: Date;
}

/** What readers have to know beyond the host itself; never throws. */
export interface PartSources {
  users(): Promise<DeviceUsers>;
  /** Null where no libvirt answers. */
  libvirt(): Promise<LibvirtFacts | null>;
}

/** How one part is read. */
export interface PartReader {
  readonly part: InventoryPart;
  readonly needs: HostNeeds;
  /** How often without any event: for what none tells of. */
  readonly everyMs: number;
  /** Asks programs that may take long: the other parts do not wait for it. */
  readonly isSlow: boolean;
  /** Whether it reads who uses the host's devices. */
  readonly asksUsers: boolean;
  /** `host` is a snapshot that holds the needs. What cannot be read is in the part's `unavailable`. */
  read(host: HostChannel, sources: PartSources): Promise<PartReading>;
}

interface PartDefinition<F extends ContentField> {
  part: InventoryPart;
  field: F;
  encoding: { encode(message: NonNullable<PartContent[F]>): { finish(): Uint8Array } };
  needs: HostNeeds;
  read(host: HostChannel, sources: PartSources): Promise<NonNullable<PartContent[F]>>;
  everyMs?: number;
  isSlow?: boolean;
  asksUsers?: boolean;
  /** What the digest is made of, where not every difference is worth a report. */
  essence?(content: NonNullable<PartContent[F]>): NonNullable<PartContent[F]>;
}

const EVERY_MS = 60_000;

/** The readers of one host: they remember what spares them work. */
export function partReaders(smart: Pick<SmartWatch, "know" | "readings">): PartReader[] {
  let previous: Inventory | null = null;
  return [
    reader({
      ...{ part: InventoryPart.HARDWARE, field: "hardware", encoding: HardwareInventory, needs: HARDWARE_NEEDS },
      read: async (host) => {
        previous = await readInventory(host, previous);
        return previous.hardware;
      },
    }),
    reader({
      ...{ part: InventoryPart.PCI, field: "pci", encoding: PciInventory, needs: PCI_NEEDS, asksUsers: true },
      read: async (host, { users }) => await readOf(host, await users(), readPci, readPciOverLibvirt),
      essence: steadyPci,
    }),
    reader({
      ...{ part: InventoryPart.USB, field: "usb", encoding: UsbInventory, needs: USB_NEEDS, asksUsers: true },
      read: async (host, { users }) => await readOf(host, await users(), readUsb, readUsbOverLibvirt),
    }),
    reader({
      ...{ part: InventoryPart.NETWORK, field: "network", encoding: NetworkInventory, needs: NETWORK_NEEDS, asksUsers: true },
      read: async (host, { users }) => await readOf(host, await users(), readNetwork, readNetworkOverLibvirt),
    }),
    reader({
      ...{ part: InventoryPart.HOST, field: "host", encoding: HostInventory, needs: HOST_NEEDS, isSlow: true },
      read: async (host, { libvirt }) => await readHostFacts(host, await libvirt()),
      // Counted back from a clock that is set now and then; another boot has another id.
      essence: (content) => (content.bootId === undefined ? content : { ...content, bootedAt: undefined }),
    }),
    reader({
      ...{ part: InventoryPart.DISKS, field: "disks", encoding: DiskInventory, needs: DISK_NEEDS, isSlow: true, asksUsers: true },
      read: async (host, { users }) => {
        if (host instanceof LibvirtOnlyHost) return await readDisksOverLibvirt(host, await users());
        const inventory = await readDisks(host, await users());
        smart.know(inventory.disks);
        return withSmart(inventory, smart.readings);
      },
      essence: steadyDisks,
    }),
    reader({
      ...{
        part: InventoryPart.ACCELERATORS,
        field: "accelerators",
        encoding: AcceleratorInventory,
        needs: ACCELERATOR_NEEDS,
        isSlow: true,
      },
      read: readAccelerators,
      // Where no driver stays loaded, asking wakes every card.
      everyMs: 10 * EVERY_MS,
    }),
  ];
}

type Read<H, T> = (host: H, users: DeviceUsers) => Promise<T>;

/** A host that is reached over libvirt alone is read by what libvirt tells. */
function readOf<T>(host: HostChannel, users: DeviceUsers, read: Read<HostChannel, T>, overLibvirt: Read<LibvirtOnlyHost, T>): Promise<T> {
  return host instanceof LibvirtOnlyHost ? overLibvirt(host, users) : read(host, users);
}

function reader<F extends ContentField>(definition: PartDefinition<F>): PartReader {
  const {
    part,
    field,
    encoding,
    needs,
    everyMs = EVERY_MS,
    isSlow = false,
    asksUsers = false,
    essence = (content) => content,
  } = definition;
  return {
    ...{ part, needs, everyMs, isSlow, asksUsers },
    async read(host, sources) {
      const observedAt = new Date();
      const content = await definition.read(host, sources);
      const digest = createHash("sha256")
        .update(encoding.encode(essence(content)).finish())
        .digest("hex");
      return { part, content: { [field]: content }, digest, observedAt };
    },
  };
}

/** Of several parts that are read from one snapshot. */
export function needsOf(readers: readonly PartReader[]): HostNeeds {
  const paths = new Set(readers.flatMap(({ needs }) => needs.paths));
  const commands = new Map(readers.flatMap(({ needs }) => needs.commands.map((command) => [JSON.stringify(command), command])));
  return { paths: [...paths], commands: [...commands.values()] };
}
