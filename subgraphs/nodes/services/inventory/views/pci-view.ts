import type { PciDevice, Sriov } from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { ContentOf, Stored } from "../inventory-parts.ts";
import { knownList } from "../unavailable.ts";
import { deviceUserView } from "./device-user-view.ts";
import { enumName, PCI_KINDS, type PciKindName } from "./enum-names.ts";

export interface PciFilter {
  kind?: PciKindName | null;
  passthroughPossible?: boolean | null;
}

export type PciDeviceView = ReturnType<typeof pciDeviceView>;

/** By address; null where they could not be read. */
export function pciDeviceViews(
  nodeId: string,
  content: ContentOf<"PCI">,
  { kind, passthroughPossible }: PciFilter = {},
): PciDeviceView[] | null {
  const devices = knownList(content, "devices", content.devices)?.map((device) => pciDeviceView(nodeId, device));
  return (
    devices?.filter(
      (device) =>
        (kind === null || kind === undefined || device.kind === kind) &&
        (passthroughPossible === null || passthroughPossible === undefined || device.passthrough?.possible === passthroughPossible),
    ) ?? null
  );
}

export function pciDeviceView(nodeId: string, device: Stored<PciDevice>) {
  return {
    nodeId,
    ...device,
    kind: enumName(PCI_KINDS, "PCI_KIND_", device.kind),
    user: deviceUserView(device.user),
    sriov: device.sriov ? sriovView(device.sriov) : null,
    physicalFunction: device.physicalFunction || null,
    parentAddress: device.parentAddress || null,
  };
}

export function sriovView({ functions, ...sriov }: Stored<Sriov>) {
  return { ...sriov, functions: functions.map((one) => ({ ...one, user: deviceUserView(one.user) })) };
}
