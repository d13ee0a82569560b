import type { HostChannel } from "../host/host-channel.ts";
import { readInteger } from "./kernel-text.ts";

const PCI_DEVICES = "/sys/bus/pci/devices";

/** PCI base class and subclass, as in the PCI Code and ID Assignment Specification. */
const VGA_CONTROLLER = 0x0300;
const CONTROLLER_3D = 0x0302;
const DISPLAY_OTHER = 0x0380;
const PROCESSING_ACCELERATOR = 0x12;

/** Makers of GPUs. A display controller of anyone else (a BMC's, a virtual machine's) drives a screen and computes nothing. */
const GPU_VENDORS = new Set([
  0x10de, // NVIDIA
  0x1002, // AMD
  0x8086, // Intel
  0x1d94, // Hygon
  0x1ed5, // Moore Threads
  0x1e3e, // Iluvatar CoreX
  0x9999, // MetaX
]);

/** The GPUs and accelerators on the PCI bus; virtual functions of one do not count again. Throws HostReadError. */
export async function countAccelerators(host: HostChannel): Promise<number> {
  let count = 0;
  for (const address of await host.list(PCI_DEVICES)) {
    const path = `${PCI_DEVICES}/${address}`;
    const kind = (await readInteger(host, `${path}/class`)) >>> 8;
    const vendor = await readInteger(host, `${path}/vendor`);
    if (isAccelerator(kind, vendor) && !(await isVirtualFunction(host, path))) count += 1;
  }
  return count;
}

function isAccelerator(kind: number, vendor: number): boolean {
  if (kind === CONTROLLER_3D || kind >>> 8 === PROCESSING_ACCELERATOR) return true;
  return (kind === VGA_CONTROLLER || kind === DISPLAY_OTHER) && GPU_VENDORS.has(vendor);
}

async function isVirtualFunction(host: HostChannel, path: string): Promise<boolean> {
  return host.list(`${path}/physfn`).then(
    () => true,
    () => false,
  );
}
