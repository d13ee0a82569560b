import type { FileSystemUse } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import { type Mount, parseMounts, parseSwaps } from "../own-use/mounts.ts";
import { textOf } from "../sysfs.ts";
import type { BlockStack } from "./block-stack.ts";
import type { LsblkEntry } from "./lsblk.ts";

const MOUNTS = "/proc/self/mountinfo";
const SWAPS = "/proc/swaps";
const MAX_MOUNT_POINTS = 64;

export const FILE_SYSTEM_PATHS = [MOUNTS, SWAPS];

interface MountedDevice {
  /** The block device's; undefined for what is on none. */
  name: string | undefined;
  type: string;
  target: string;
  /** Shows a part of what is mounted elsewhere: container engines make hundreds of them. */
  bind: boolean;
}

/** Which block device is mounted where. */
export class FileSystems {
  readonly #stack: BlockStack;
  readonly #mounts: readonly MountedDevice[];

  private constructor(stack: BlockStack, mounts: readonly Mount[], swaps: readonly string[]) {
    this.#stack = stack;
    // btrfs has a number of its own; its source is one of its devices.
    const mounted = mounts.map(({ number, source, type, target, root }) => ({
      name: stack.numbered(number) ?? (source.startsWith("/dev/") ? stack.named(source) : undefined),
      ...{ type, target, bind: root !== "/" && target !== "/" && type !== "btrfs" },
    }));
    this.#mounts = [...mounted, ...swaps.map((file) => ({ name: stack.named(file), type: "swap", target: "[SWAP]", bind: false }))];
  }

  static async read(host: HostChannel, stack: BlockStack): Promise<FileSystems> {
    return new FileSystems(stack, parseMounts((await textOf(host, MOUNTS)) ?? ""), parseSwaps((await textOf(host, SWAPS)) ?? ""));
  }

  /**
   * What a disk or partition holds; undefined for nothing that is known. `told`: of lsblk. The mount points of what is made of it (LVM,
   * RAID, encryption) are among them, so that what it is for is seen; the sizes are its own only.
   */
  contentOf(name: string, told: LsblkEntry | undefined): FileSystemUse | undefined {
    const holders = new Set(this.#stack.madeOf(name).map((device) => device.name));
    const above = this.#mounts.filter((mount) => mount.name !== undefined && holders.has(mount.name));
    const seen = above.some(({ bind }) => !bind) ? above.filter(({ bind }) => !bind) : above;
    const type = told?.fstype ?? above.find((mount) => mount.name === name)?.type;
    if (type === undefined && above.length === 0) return undefined;
    return {
      type: type ?? "",
      label: told?.label,
      uuid: told?.uuid,
      mountPoints: [...new Set(seen.map(({ target }) => target))].sort().slice(0, MAX_MOUNT_POINTS),
      totalBytes: told?.fssize,
      availableBytes: told?.fsavail,
    };
  }

  /** The block device that holds a folder. */
  holding(folder: string): string | undefined {
    const under = (target: string) => target === "/" || folder === target || folder.startsWith(`${target}/`);
    const mounts = this.#mounts.filter(({ target }) => under(target)).sort((a, b) => b.target.length - a.target.length);
    // Of several at the same place the last one is seen.
    return mounts.findLast(({ target }) => target === mounts[0]?.target)?.name;
  }
}
