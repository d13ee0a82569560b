import { type NvmeController, type PciInventory, PciKind, type Sriov } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { attribute, element, elements, type XmlElement } from "../../drivers/libvirt/xml.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import type { DeviceUsers } from "../device-users.ts";
import { type DeviceIds, PCI_IDS } from "../ids/device-ids.ts";
import type { OwnUse, OwnUses } from "../own-use/own-use.ts";
import { pciKind } from "../pci/kind.ts";
import { PciBus } from "../pci/pci-bus.ts";
import type { PciFiles } from "../pci/pci-files.ts";
import { pciNames } from "../pci/pci-names.ts";
import { pciAddressIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { diskOf } from "./disks.ts";
import {
  attemptOverLibvirt,
  idAndName,
  NOT_TOLD,
  type NodeDevice,
  readNodeDevices,
  subCapability,
  textIn,
  wholeNumber,
} from "./node-devices.ts";

const NEVER_TOLD = ["subsystemVendorId", "subsystemDeviceId", "subsystemName", "revision"];
const NOT_KNOWN: OwnUse = { reason: "NotKnown", message: `It is not known what the host uses it for. ${NOT_TOLD}` };

/** Nothing is known of what the host needs its devices for: no disk and no network adapter may be given away. */
export const UNKNOWN_USES: OwnUses = { pci: new Map(), usb: new Map(), disks: NOT_KNOWN, network: NOT_KNOWN };

/** The PCI devices as libvirt knows them, in the order of their addresses. Throws HostReadError where libvirt is gone. */
export async function readPciOverLibvirt(host: LibvirtOnlyHost, users: DeviceUsers, ids: DeviceIds = PCI_IDS): Promise<PciInventory> {
  const unavailable = new Unavailable();
  const all = (await attemptOverLibvirt(unavailable, "devices", () => readNodeDevices(host, "PCI"))) ?? [];
  if (all.length === 0) return { devices: [], unavailable: unavailable.fields };
  const functions = all.flatMap((device) => pciFunction(device, users) ?? []).sort((a, b) => (a.files.address < b.files.address ? -1 : 1));
  const devices = functions.map(({ files }) => files);
  for (const field of NEVER_TOLD) unavailable.add(`devices[*].${field}`, "NO_SHELL", NOT_TOLD);
  if (devices.every(({ iommuGroup }) => iommuGroup === undefined)) {
    unavailable.add("devices[*].iommuGroup", "NOT_PRESENT", "The host has no IOMMU in use.");
  }
  if (devices.every(({ numaNode }) => numaNode === undefined)) {
    unavailable.add("devices[*].numaNode", "NOT_SUPPORTED", "The firmware does not tell which NUMA node a device is at.");
  }
  const nets = (await attemptOverLibvirt(unavailable, "devices[*].interfaces", () => readNodeDevices(host, "NET"))) ?? [];
  const disks = (await attemptOverLibvirt(unavailable, "devices[*].nvme", () => readNodeDevices(host, "STORAGE"))) ?? [];
  const interfaces = nets.map((net) => ({ name: textIn(net, "interface") ?? "", path: net.path }));
  const names = (await unavailable.attempt("devices[*].className", () => pciNames(ids, devices))) ?? null;
  const bus = new PciBus({ devices, interfaces, users, nvme: nvmeControllers(disks), own: UNKNOWN_USES, names });
  const sriovOf = (files: PciFiles): Sriov | undefined => files.sriov && withInterfaces(files.sriov, devices, interfaces);
  return {
    devices: functions.map(({ files, vendorName, deviceName }, index) => {
      const device = bus.device({ ...files, sriov: sriovOf(files) }, `devices[${index}]`, unavailable);
      return { ...device, vendorName: device.vendorName ?? vendorName, deviceName: device.deviceName ?? deviceName };
    }),
    unavailable: unavailable.fields,
  };
}

/** GPUs and accelerators, not counting virtual functions of one. Throws HostReadError. */
export async function countAcceleratorsOverLibvirt(host: LibvirtOnlyHost): Promise<number> {
  const functions = (await readNodeDevices(host, "PCI")).flatMap((device) => pciFunction(device) ?? []);
  return functions.filter(({ files: { classId, vendorId, physicalFunction } }) => {
    const kind = pciKind(classId, vendorId);
    return (kind === PciKind.GPU || kind === PciKind.ACCELERATOR) && physicalFunction === undefined;
  }).length;
}

/** By address: what interfaces and disks are on. */
export async function pciFunctions(host: LibvirtOnlyHost): Promise<Map<string, PciFiles>> {
  const functions = (await readNodeDevices(host, "PCI")).flatMap((device) => pciFunction(device) ?? []);
  return new Map(functions.map(({ files }) => [files.address, files]));
}

interface PciFunction {
  files: PciFiles;
  vendorName: string | undefined;
  deviceName: string | undefined;
}

/** Null for what has no address or no ids. */
export function pciFunction(device: NodeDevice, users?: DeviceUsers): PciFunction | null {
  const { capability, path, driver } = device;
  const [vendor, product] = [idAndName(device, "vendor"), idAndName(device, "product")];
  const [domain, bus, slot, fn] = ["domain", "bus", "slot", "function"].map((name) => wholeNumber(textIn(device, name)));
  if (domain === undefined || bus === undefined || slot === undefined || fn === undefined) return null;
  if (vendor.id === undefined || product.id === undefined) return null;
  return {
    vendorName: vendor.name,
    deviceName: product.name,
    files: {
      ...{ address: pciAddress(domain, bus, slot, fn), driver, vendorId: vendor.id, deviceId: product.id },
      // libvirt before 6.0 does not tell it.
      classId: wholeNumber(textIn(device, "class")) ?? 0,
      ...{ subsystemVendorId: undefined, subsystemDeviceId: undefined, revision: undefined },
      numaNode: wholeNumber(attribute(element(capability, "numa"), "node")),
      link: pciLink(capability),
      iommuGroup: wholeNumber(attribute(element(capability, "iommuGroup"), "number")),
      physicalFunction: addressesIn(subCapability(device, "phys_function"))[0],
      sriov: sriovIn(device, users),
      parent: pciAddressIn(path.slice(0, path.lastIndexOf("/"))),
    },
  };
}

function pciAddress(domain: number, bus: number, slot: number, fn: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${fn.toString(16)}`;
}

function addressesIn(parent: XmlElement | null): string[] {
  return elements(parent, "address").flatMap((one) => {
    const [domain, bus, slot, fn] = ["domain", "bus", "slot", "function"].map((name) => wholeNumber(attribute(one, name)));
    const whole = domain !== undefined && bus !== undefined && slot !== undefined && fn !== undefined;
    return whole ? [pciAddress(domain, bus, slot, fn)] : [];
  });
}

function sriovIn(device: NodeDevice, users: DeviceUsers | undefined): Sriov | undefined {
  const capability = subCapability(device, "virt_functions");
  if (capability === null) return undefined;
  const functions = addressesIn(capability);
  return {
    totalVfs: wholeNumber(attribute(capability, "maxCount")) ?? functions.length,
    enabledVfs: functions.length,
    functions: functions.map((address, index) => ({ index, address, driver: undefined, interfaces: [], user: users?.pci.get(address) })),
  };
}

/** With what is known of the virtual functions as devices of their own. */
function withInterfaces(sriov: Sriov, devices: readonly PciFiles[], interfaces: ReadonlyArray<{ name: string; path: string }>): Sriov {
  const functions = sriov.functions.map((one) => ({
    ...one,
    driver: devices.find(({ address }) => address === one.address)?.driver,
    interfaces: interfaces.filter(({ path }) => pciAddressIn(path) === one.address).map(({ name }) => name),
  }));
  return { ...sriov, functions };
}

/** "cap" is what it can do, "sta" what was agreed on; as sysfs writes them. */
function pciLink(capability: XmlElement): PciFiles["link"] {
  const links = elements(element(capability, "pci-express"), "link");
  const of = (validity: string) => links.find((one) => attribute(one, "validity") === validity) ?? null;
  const [can, is] = [of("cap"), of("sta")];
  if (can === null && is === null) return undefined;
  const speed = (link: XmlElement | null) => (attribute(link, "speed") === "" ? "" : `${attribute(link, "speed")} GT/s`);
  return { speed: speed(is), maxSpeed: speed(can), width: attribute(is, "width"), maxWidth: attribute(can, "width") };
}

/** By the address of their controller. */
function nvmeControllers(disks: readonly NodeDevice[]): Map<string, NvmeController> {
  const controllers = new Map<string, NvmeController>();
  for (const device of disks) {
    const disk = diskOf(device);
    const id = /^nvme\d+n(\d+)$/.exec(disk.name)?.[1];
    if (id === undefined || disk.pciAddress === undefined) continue;
    const { model, serial, name, sizeBytes, logicalBlockBytes = 0 } = disk;
    const controller = controllers.get(disk.pciAddress) ?? { model, serial, firmware: undefined, namespaces: [] };
    controller.namespaces.push({ id: Number(id), disk: name, sizeBytes, blockBytes: logicalBlockBytes });
    controllers.set(disk.pciAddress, controller);
  }
  return controllers;
}
