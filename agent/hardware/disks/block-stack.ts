import type { BlockDevice, BlockPartition } from "./block-devices.ts";

/** Which block device stands on which: disks below, LVM, RAID and encryption above. Names are the kernel's. */
export class BlockStack {
  readonly #devices = new Map<string, BlockDevice>();
  readonly #diskOfPartition = new Map<string, string>();
  readonly #madeOfIt = new Map<string, string[]>();

  constructor(devices: readonly BlockDevice[]) {
    for (const device of devices) {
      this.#devices.set(device.name, device);
      for (const { name } of device.partitions) this.#diskOfPartition.set(name, device.name);
      for (const below of device.madeOf) this.#madeOfIt.set(below, [...(this.#madeOfIt.get(below) ?? []), device.name]);
    }
  }

  /** The whole devices that this one or this partition is on, down to those that are made of nothing else. */
  disksUnder(name: string): string[] {
    return this.#reachable(name, (at) => [this.#diskOfPartition.get(at) ?? [], this.#devices.get(at)?.madeOf ?? []].flat()).filter(
      (at) => this.#devices.get(at)?.madeOf.length === 0,
    );
  }

  /** It, and all that is made of it, with their partitions. */
  madeOf(name: string): Array<BlockDevice | BlockPartition> {
    const partitionsOf = (at: string) => this.#devices.get(at)?.partitions.map((partition) => partition.name) ?? [];
    return this.#reachable(name, (at) => [this.#madeOfIt.get(at) ?? [], partitionsOf(at)].flat()).flatMap((at) => this.#find(at) ?? []);
  }

  /** Of a device file: "/dev/sda1", "/dev/mapper/vg-root", "/dev/vg/root"; "/dev/vg" gives one of its volumes. */
  named(file: string): string | undefined {
    const name = file.replace(/^\/dev\//, "");
    if (this.#find(name.replaceAll("/", "!"))) return name.replaceAll("/", "!");
    // The device mapper doubles the dashes within LVM's names.
    const mapped = name.startsWith("mapper/") ? name.slice("mapper/".length) : name.replaceAll("-", "--").replace("/", "-");
    const group = name.includes("/") ? null : `${mapped}-`;
    const isIt = (mapper: string) => mapper === mapped || (group !== null && mapper.startsWith(group) && mapper[group.length] !== "-");
    return [...this.#devices.values()].find(({ mapperName }) => mapperName !== undefined && isIt(mapperName))?.name;
  }

  /** By its major and minor number. */
  numbered(number: string): string | undefined {
    for (const device of this.#devices.values()) {
      const found = [device, ...device.partitions].find((each) => each.number === number);
      if (found) return found.name;
    }
    return undefined;
  }

  #find(name: string): BlockDevice | BlockPartition | undefined {
    const disk = this.#devices.get(this.#diskOfPartition.get(name) ?? "");
    return this.#devices.get(name) ?? disk?.partitions.find((partition) => partition.name === name);
  }

  #reachable(name: string, next: (name: string) => string[]): string[] {
    const seen = new Set([name]);
    // A set that grows while it is walked gives what was added, too.
    for (const at of seen) for (const other of next(at)) seen.add(other);
    return [...seen];
  }
}
