import { type Passthrough, PciKind } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { OwnUse } from "../own-use/own-use.ts";

/** What decides whether a PCI device can be given to an instance. */
export interface PassthroughCandidate {
  address: string;
  /** 24 bits. */
  classId: number;
  kind: PciKind;
  iommuGroup: number | undefined;
  /** What the host itself needs it for. */
  own: OwnUse | null;
  /** Virtual functions that are switched on. */
  enabledVfs: number;
}

export const POSSIBLE: Passthrough = { possible: true, reason: "", message: "" };

/** Host bridge and PCI-to-PCI bridge, class and subclass: VFIO leaves them to the host, and the rest of their group can go. */
const STAY_WITH_THE_HOST = new Set([0x0600, 0x0604]);
const IOMMU = 0x0806;

/** `classId`: 24 bits. */
export function staysWithTheHost(classId: number): boolean {
  return STAY_WITH_THE_HOST.has(classId >>> 8);
}

/**
 * Whether the device can be given away, or why not: Bridge, NotSupported, RootDisk, DiskInUse, HostNetwork, NotKnown, VirtualFunctions,
 * NoIommu, SharedGroup. `group`: every device of its IOMMU group. All of them leave the host's drivers together; where that
 * can be, `message` names the others. That a guest has the device already is not judged here.
 */
export function judgePassthrough(device: PassthroughCandidate, group: readonly PassthroughCandidate[]): Passthrough {
  const alone = judgeAlone(device);
  if (alone !== null) return alone;
  if (device.iommuGroup === undefined) {
    return no("NoIommu", "The host has no IOMMU in use for it: switch on VT-d, AMD-Vi or the SMMU in its firmware and its kernel.");
  }
  const others = group.filter(({ address, classId }) => address !== device.address && !staysWithTheHost(classId));
  const blocking = others.flatMap((other) => {
    const why = judgeAlone(other);
    return why ? [`${other.address}: ${why.message}`] : [];
  });
  if (blocking.length > 0) {
    return no("SharedGroup", `It shares IOMMU group ${device.iommuGroup} with what stays with the host. ${blocking.join(" ")}`);
  }
  if (others.length === 0) return POSSIBLE;
  const names = others.map(({ address }) => address).join(", ");
  return { ...POSSIBLE, message: `The rest of IOMMU group ${device.iommuGroup} leaves the host with it: ${names}.` };
}

/** Without its group; null where nothing is in the way. */
function judgeAlone({ kind, classId, own, enabledVfs }: PassthroughCandidate): Passthrough | null {
  if (kind === PciKind.BRIDGE) return no("Bridge", "It is a bridge.");
  if (classId >>> 8 === IOMMU) return no("NotSupported", "It is the IOMMU.");
  if (own !== null) return no(own.reason, own.message);
  if (enabledVfs > 0) return no("VirtualFunctions", `It has ${enabledVfs} virtual functions switched on.`);
  return null;
}

function no(reason: string, message: string): Passthrough {
  return { possible: false, reason, message };
}
