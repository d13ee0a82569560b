import { CapturedHost } from "../../agent/host/capture/captured-host.ts";
import type { CapturedEntry } from "../../agent/host/capture/format.ts";
import type { HostNeeds, UnreadableReason } from "../../agent/host/host-channel.ts";

/** Files by path: a text, a link's target, or why it cannot be read. Folders follow from the paths; one without anything in it ends with "/". */
export type HostTree = Record<string, string | { link: string } | { problem: UnreadableReason }>;

/** A host that has these files and no others, and gives only what `needs` name: reading anything else fails with UNREADABLE. */
export function treeHost(tree: HostTree, needs: HostNeeds): CapturedHost {
  const entries = new Map<string, CapturedEntry>();
  const entryOf = (path: string): CapturedEntry => {
    const known = entries.get(path);
    if (known) return known;
    const entry: CapturedEntry = {};
    entries.set(path, entry);
    return entry;
  };
  const addToFolder = (path: string): void => {
    const slash = path.lastIndexOf("/");
    if (slash <= 0) return;
    const folder = entryOf(path.slice(0, slash));
    const name = path.slice(slash + 1);
    folder.names ??= [];
    if (!folder.names.includes(name)) folder.names.push(name);
    addToFolder(path.slice(0, slash));
  };
  for (const [path, value] of Object.entries(tree)) {
    if (path.endsWith("/")) entryOf(path.slice(0, -1)).names ??= [];
    else Object.assign(entryOf(path), typeof value === "string" ? { content: value } : value);
    addToFolder(path.replace(/\/$/, ""));
  }
  return new CapturedHost({ architecture: "x86_64", paths: [...needs.paths], entries, commands: new Map() });
}

/** A PCI device with the files that the kernel gives each of them. `ids`: "8086:10d3"; `behind`: the bridges above it, outermost first. */
export function pciDevice(
  address: string,
  device: { class: string; ids: string; subsystem?: string; driver?: string; group?: number; behind?: string[] },
): HostTree {
  const directory = `/sys/bus/pci/devices/${address}`;
  const event = [
    ...(device.driver ? [`DRIVER=${device.driver}`] : []),
    `PCI_CLASS=${device.class.toUpperCase()}`,
    `PCI_ID=${device.ids.toUpperCase()}`,
    `PCI_SUBSYS_ID=${(device.subsystem ?? "0000:0000").toUpperCase()}`,
    `PCI_SLOT_NAME=${address}`,
  ];
  return {
    [directory]: { link: `../../../devices/${pciPath(address, device.behind)}` },
    [`${directory}/uevent`]: `${event.join("\n")}\n`,
    [`${directory}/revision`]: "0x02\n",
    [`${directory}/numa_node`]: "-1\n",
    ...(device.group !== undefined && { [`${directory}/iommu_group`]: { link: `../../../kernel/iommu_groups/${device.group}` } }),
    ...(device.driver && { [`${directory}/driver`]: { link: `../../../bus/pci/drivers/${device.driver}` } }),
  };
}

/** Below /sys/devices. */
export function pciPath(address: string, behind: string[] = []): string {
  return ["pci0000:00", ...behind, address].join("/");
}

/** A block device at a path below /sys/devices, such as that of pciPath. */
export function blockDevice(name: string, path: string, number: string, files: HostTree = {}): HostTree {
  const directory = `/sys/class/block/${name}`;
  const own = Object.entries(files).map(([file, value]) => [`${directory}/${file}`, value]);
  return { [directory]: { link: `../../devices/${path}/block/${name}` }, [`${directory}/dev`]: `${number}\n`, ...Object.fromEntries(own) };
}

export function networkInterface(name: string, path: string, index: number, files: HostTree = {}): HostTree {
  const directory = `/sys/class/net/${name}`;
  const own = Object.entries(files).map(([file, value]) => [`${directory}/${file}`, value]);
  return {
    [directory]: { link: `../../devices/${path}/net/${name}` },
    [`${directory}/ifindex`]: `${index}\n`,
    [`${directory}/iflink`]: `${index}\n`,
    ...Object.fromEntries(own),
  };
}

/** What every host has that runs; a mount is "254:1 /boot ext4 /dev/vda1". */
export function runningHost(mounts: string[], routes: string[] = []): HostTree {
  const lines = mounts.map((mount, index) => {
    const [number, target, type, source] = mount.split(" ");
    return `${index + 20} 1 ${number} / ${target} rw,relatime shared:1 - ${type} ${source} rw\n`;
  });
  return {
    "/proc/self/mountinfo": lines.join(""),
    "/proc/swaps": "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
    "/proc/net/route": `Iface\tDestination\tGateway\n${routes.map((name) => `${name}\t00000000\t010200C0\n`).join("")}`,
  };
}
