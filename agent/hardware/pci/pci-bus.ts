import { type NvmeController, PciDevice, PciKind, type PciLink } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { DeviceUsers } from "../device-users.ts";
import type { InterfaceLink } from "../own-use/own-network.ts";
import type { OwnUse, OwnUses } from "../own-use/own-use.ts";
import { pciAddressIn } from "../sysfs.ts";
import type { Unavailable } from "../unavailable.ts";
import { pciKind } from "./kind.ts";
import { judgePassthrough, type PassthroughCandidate } from "./passthrough.ts";
import type { PciFiles } from "./pci-files.ts";
import type { PciNames } from "./pci-names.ts";

/** All that was read about the devices of a host. */
export interface PciFacts {
  devices: readonly PciFiles[];
  interfaces: readonly InterfaceLink[];
  users: DeviceUsers;
  /** By PCI address. */
  nvme: ReadonlyMap<string, NvmeController>;
  own: OwnUses;
  /** Null without pci.ids. */
  names: ((device: PciFiles) => PciNames) | null;
}

/** Puts together what is known of each device; it depends on what the others are. */
export class PciBus {
  readonly #facts: PciFacts;
  readonly #groups = new Map<number, PassthroughCandidate[]>();
  /** Names of network interfaces by the device that they are on. */
  readonly #interfaces = new Map<string, string[]>();

  constructor(facts: PciFacts) {
    this.#facts = facts;
    for (const device of facts.devices) {
      if (device.iommuGroup === undefined) continue;
      const group = this.#groups.get(device.iommuGroup) ?? [];
      group.push(this.#candidate(device));
      this.#groups.set(device.iommuGroup, group);
    }
    for (const { name, path } of facts.interfaces) {
      const address = pciAddressIn(path);
      if (address !== undefined) this.#interfaces.set(address, [...(this.#interfaces.get(address) ?? []), name].sort());
    }
  }

  /** `field`: where it stands in the inventory, such as "devices[3]". */
  device(files: PciFiles, field: string, unavailable: Unavailable): PciDevice {
    const { address, classId, vendorId, deviceId, subsystemVendorId, subsystemDeviceId, revision, driver, iommuGroup } = files;
    const candidate = this.#candidate(files);
    const group = (iommuGroup !== undefined && this.#groups.get(iommuGroup)) || [];
    return PciDevice.fromPartial({
      ...{ address, classId, vendorId, deviceId, subsystemVendorId, subsystemDeviceId, revision, driver, iommuGroup },
      ...this.#facts.names?.(files),
      kind: candidate.kind,
      numaNode: files.numaNode !== undefined && files.numaNode >= 0 ? files.numaNode : undefined,
      link: files.link && toLink(files.link, `${field}.link`, unavailable),
      iommuGroupMembers: group.map((member) => member.address),
      passthrough: judgePassthrough(candidate, group),
      user: this.#facts.users.pci.get(address),
      sriov: files.sriov,
      physicalFunction: files.physicalFunction ?? "",
      interfaces: this.#interfaces.get(address) ?? [],
      nvme: this.#facts.nvme.get(address),
      parentAddress: files.parent ?? "",
    });
  }

  #candidate({ address, classId, vendorId, iommuGroup, sriov }: PciFiles): PassthroughCandidate {
    const kind = pciKind(classId, vendorId);
    return { address, classId, kind, iommuGroup, enabledVfs: sriov?.enabledVfs ?? 0, own: this.#own(address, kind) };
  }

  #own(address: string, kind: PciKind): OwnUse | null {
    const { pci, disks, network } = this.#facts.own;
    const known = pci.get(address);
    if (known) return known;
    if (kind === PciKind.NETWORK) return network;
    if (kind === PciKind.STORAGE || kind === PciKind.NVME) return disks;
    // Disks and adapters can hang on it.
    return kind === PciKind.USB_CONTROLLER ? (disks ?? network) : null;
  }
}

/** "8.0 GT/s PCIe", "Unknown". */
function gigatransfers(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) GT\/s/.exec(text);
  return match ? Number(match[1]) : undefined;
}

/** A link that is down has no lanes; 63 and 255 are what an absent register reads as. */
function lanes(text: string): number | undefined {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  return count > 0 && count <= 32 ? count : undefined;
}

function toLink(files: NonNullable<PciFiles["link"]>, field: string, unavailable: Unavailable): PciLink {
  const link = {
    speedGts: gigatransfers(files.speed),
    maxSpeedGts: gigatransfers(files.maxSpeed),
    width: lanes(files.width),
    maxWidth: lanes(files.maxWidth),
  };
  const missing = Object.entries(link).find(([, value]) => value === undefined)?.[0];
  if (missing) unavailable.add(`${field}.${missing}`, "NOT_SUPPORTED", "The device gives no such value, or its link is down.");
  return link;
}
