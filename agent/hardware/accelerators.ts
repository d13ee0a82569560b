import { PciKind } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { type HostChannel, type HostNeeds, HostReadError } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { readInteger } from "./kernel-text.ts";
import { countAcceleratorsOverLibvirt } from "./libvirt/pci.ts";
import { pciKind } from "./pci/kind.ts";

const PCI_DEVICES = "/sys/bus/pci/devices";

export const ACCELERATOR_COUNT_NEEDS: HostNeeds = {
  paths: [PCI_DEVICES, ...["class", "vendor", "physfn"].map((file) => `${PCI_DEVICES}/*/${file}`)],
  commands: [],
};

/** The GPUs and accelerators on the PCI bus; virtual functions of one do not count again. Throws HostReadError. */
export async function countAccelerators(host: HostChannel): Promise<number> {
  if (host instanceof LibvirtOnlyHost) return await countAcceleratorsOverLibvirt(host);
  let count = 0;
  for (const address of await host.list(PCI_DEVICES)) {
    const path = `${PCI_DEVICES}/${address}`;
    const kind = pciKind(await readInteger(host, `${path}/class`), await readInteger(host, `${path}/vendor`));
    if ((kind === PciKind.GPU || kind === PciKind.ACCELERATOR) && !(await isVirtualFunction(host, path))) count += 1;
  }
  return count;
}

async function isVirtualFunction(host: HostChannel, path: string): Promise<boolean> {
  try {
    await host.readLink(`${path}/physfn`);
    return true;
  } catch (error) {
    // A tree that was written by hand may have a directory there.
    return error instanceof HostReadError && error.reason === "NOT_SUPPORTED";
  }
}
