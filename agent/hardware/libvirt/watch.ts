import { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";

const { PCI, USB, NETWORK, DISKS, ACCELERATORS } = InventoryPart;

/** By the beginning of libvirt's names of devices. */
const CONCERNED: ReadonlyArray<[string, readonly InventoryPart[]]> = [
  ["pci_", [PCI, ACCELERATORS]],
  ["usb_", [USB]],
  ["net_", [NETWORK, PCI]],
  ["block_", [DISKS, PCI]],
];

/** Follows libvirt's events about the host's devices until the signal aborts: what udev tells its daemon. Never throws. */
export async function watchOverLibvirt(
  { client }: LibvirtOnlyHost,
  onConcerned: (parts: readonly InventoryPart[]) => void,
  signal: AbortSignal,
): Promise<void> {
  const onDevice = ({ dev }: { dev: { name: string } }) => {
    const parts = CONCERNED.find(([beginning]) => dev.name.startsWith(beginning))?.[1];
    if (parts !== undefined) onConcerned(parts);
  };
  const ends = [client.on("nodeDeviceLifecycle", onDevice), client.on("nodeDeviceUpdate", onDevice)];
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  for (const end of ends) end();
}
