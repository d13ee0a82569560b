import type { Logger } from "../../../platform/observability/log.ts";
import { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostCommand } from "../../host/host-channel.ts";
import { LibvirtOnlyHost } from "../../host/libvirt-only-host.ts";
import { watchOverLibvirt } from "../libvirt/watch.ts";
import { partsConcernedBy } from "./concerned-parts.ts";
import { followProgram } from "./followed-program.ts";
import { UEVENT_MONITOR, UeventLines } from "./uevents.ts";

export interface HardwareWatchOptions {
  host: HostChannel;
  /** These parts of the inventory may be others now. */
  onConcerned: (parts: readonly InventoryPart[]) => void;
  log: Logger;
  backoff?: { firstMs: number; longestMs: number };
}

/** Links, addresses: what no uevent tells. Each line says that something about the network is another. */
export const LINK_MONITOR: HostCommand = { program: "ip", args: ["monitor", "link", "address"] };

const { PCI, USB, NETWORK, DISKS, ACCELERATORS } = InventoryPart;
/** What the kernel's events tell of, and may not have told while nobody listened. */
const BY_UEVENTS = [PCI, USB, NETWORK, DISKS, ACCELERATORS];

/** Follows the kernel's events on a host until the signal aborts, and tells what is to be read again. */
export async function watchHardware({ host, onConcerned, log, backoff }: HardwareWatchOptions, signal: AbortSignal): Promise<void> {
  if (host instanceof LibvirtOnlyHost) return await watchOverLibvirt(host, onConcerned, signal);
  const uevents = new UeventLines();
  const shared = { host, log, ...(backoff && { backoff }) };
  await Promise.all([
    followProgram(
      {
        ...shared,
        command: UEVENT_MONITOR,
        onLine: (line) => {
          const event = uevents.take(line);
          if (event !== null) onConcerned(partsConcernedBy(event));
        },
        onStarted: () => onConcerned(BY_UEVENTS),
      },
      signal,
    ),
    followProgram(
      {
        ...shared,
        command: LINK_MONITOR,
        onLine: () => onConcerned([NETWORK]),
        onStarted: () => onConcerned([NETWORK]),
      },
      signal,
    ),
  ]);
}
