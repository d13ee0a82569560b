import { randomBytes } from "node:crypto";
import { ACCELERATOR_NEEDS } from "./hardware/accelerators/accelerators.ts";
import { DISK_NEEDS } from "./hardware/disks/disks.ts";
import { HOST_NEEDS } from "./hardware/host-facts.ts";
import { HARDWARE_NEEDS } from "./hardware/inventory.ts";
import { COUNTERS_NEEDS } from "./hardware/network/counters.ts";
import { NETWORK_NEEDS } from "./hardware/network/network.ts";
import { PCI_NEEDS } from "./hardware/pci/pci.ts";
import { USAGE_NEEDS } from "./hardware/usage.ts";
import { USB_NEEDS } from "./hardware/usb/usb.ts";
import { anonymous } from "./host/capture/anonymous.ts";
import { fetchCapture, scriptsBy } from "./host/capture/fetch.ts";
import { writeCapture } from "./host/capture/format.ts";
import type { HostChannel, HostCommand } from "./host/host-channel.ts";

const NEEDS = [
  ...[HARDWARE_NEEDS, USAGE_NEEDS, HOST_NEEDS, PCI_NEEDS, USB_NEEDS, NETWORK_NEEDS, COUNTERS_NEEDS, DISK_NEEDS, ACCELERATOR_NEEDS],
];
/** Disks that smartctl can be asked about. */
const SMART_DISK = /^(?:sd[a-z]+|nvme\d+n\d+)$/;
const MAX_DISKS = 64;

/**
 * Everything that the agent reads of a host, as one text that CapturedHost reads: for tests, and for looking into what an agent reports.
 * `raw` keeps serial numbers, addresses and names. Throws HostReadError.
 */
export async function captureText(host: HostChannel, { raw = false }: { raw?: boolean } = {}): Promise<string> {
  const disks = (await host.list("/sys/block").catch(() => [])).filter((name) => SMART_DISK.test(name)).slice(0, MAX_DISKS);
  const smart = disks.map(
    (name): HostCommand => ({ program: "smartctl", args: ["--json", "-a", "-n", "standby", `/dev/${name}`], privileged: true }),
  );
  const paths = [...new Set(NEEDS.flatMap((needs) => needs.paths))];
  const capture = await fetchCapture(scriptsBy(host), { paths, commands: [...NEEDS.flatMap(({ commands }) => commands), ...smart] });
  if (raw) return writeCapture(capture, randomBytes(16).toString("hex"));
  const name = await host.exec({ program: "uname", args: ["-n"] }).catch(() => null);
  return writeCapture(anonymous(capture, name?.stdout.trim() ?? ""), "boundary");
}
