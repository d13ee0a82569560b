import { NetworkInterface, NetworkInterfaceKind, type NetworkInventory } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { attribute, element } from "../../drivers/libvirt/xml.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import type { DeviceUsers } from "../device-users.ts";
import type { PciFiles } from "../pci/pci-files.ts";
import { pciAddressIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { attemptOverLibvirt, NOT_TOLD, type NodeDevice, readNodeDevices, textIn, wholeNumber } from "./node-devices.ts";
import { pciFunctions } from "./pci.ts";

const MAX_INTERFACES = 1024;
/** What the kernel gives for a speed that it does not know. */
const UNKNOWN_SPEED = 0xffff_ffff;
const NEVER_TOLD = ["index", "linkType", "permanentMac", "enabled", "duplex", "mtu", "addresses", "master", "bridge", "bond", "vlan"];

/** The network interfaces as libvirt knows them, ordered by name. Throws HostReadError where libvirt is gone. */
export async function readNetworkOverLibvirt(host: LibvirtOnlyHost, users: DeviceUsers): Promise<NetworkInventory> {
  const unavailable = new Unavailable();
  const devices = (await attemptOverLibvirt(unavailable, "interfaces", () => readNodeDevices(host, "NET"))) ?? [];
  const pci = (await attemptOverLibvirt(unavailable, "interfaces[*].driver", () => pciFunctions(host))) ?? new Map<string, PciFiles>();
  const interfaces = devices.map((device) => toInterface(device, pci, users));
  interfaces.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (interfaces.length > MAX_INTERFACES) {
    unavailable.add("interfaces", "UNREADABLE", `The host has more than ${MAX_INTERFACES} network interfaces; the others are left out.`);
    interfaces.length = MAX_INTERFACES;
  }
  if (interfaces.length > 0) for (const field of NEVER_TOLD) unavailable.add(`interfaces[*].${field}`, "NO_SHELL", NOT_TOLD);
  return { interfaces, unavailable: unavailable.fields };
}

function toInterface(device: NodeDevice, pci: ReadonlyMap<string, PciFiles>, users: DeviceUsers): NetworkInterface {
  const name = textIn(device, "interface") ?? "";
  const pciAddress = pciAddressIn(device.path);
  const on = pciAddress === undefined ? undefined : pci.get(pciAddress);
  const link = element(device.capability, "link");
  const state = attribute(link, "state").toUpperCase() || "UNKNOWN";
  const speed = wholeNumber(attribute(link, "speed"));
  return NetworkInterface.fromPartial({
    ...{ name, pciAddress, state },
    kind: kindOf(name, device.path, on),
    mac: textIn(device, "address"),
    // What is down may be switched off as well as unplugged: that is not told.
    enabled: state === "UP",
    carrier: state === "UP" ? true : undefined,
    speedMbps: speed !== undefined && speed > 0 && speed < UNKNOWN_SPEED ? speed : undefined,
    // Between a virtio interface and its PCI device is one more, with the driver.
    driver: device.path.endsWith(`/${pciAddress}/net/${name}`) ? on?.driver : undefined,
    sriov: on?.sriov,
    user: users.interfaces.get(name),
  });
}

function kindOf(name: string, path: string, on: PciFiles | undefined): NetworkInterfaceKind {
  if (on?.physicalFunction !== undefined) return NetworkInterfaceKind.VIRTUAL_FUNCTION;
  if (!path.startsWith("/sys/devices/virtual/")) return NetworkInterfaceKind.PHYSICAL;
  return name === "lo" ? NetworkInterfaceKind.LOOPBACK : NetworkInterfaceKind.OTHER;
}
