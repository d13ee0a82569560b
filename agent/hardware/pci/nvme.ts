import type { NvmeController, NvmeNamespace } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { readInteger } from "../kernel-text.ts";
import { ifPresent } from "../read-optional.ts";
import { pciAddressIn } from "../sysfs.ts";

const CONTROLLERS = "/sys/class/nvme";
const BLOCK = "/sys/class/block";
/** sysfs counts sizes in these, whatever the disk's own blocks are. */
const SECTOR_BYTES = 512;

export const NVME_NEEDS: HostNeeds = {
  paths: [
    CONTROLLERS,
    ...["", "/model", "/serial", "/firmware_rev"].map((file) => `${CONTROLLERS}/*${file}`),
    BLOCK,
    ...["", "/nsid", "/size", "/queue/logical_block_size"].map((file) => `${BLOCK}/nvme*${file}`),
  ],
  commands: [],
};

/** The NVMe controllers by PCI address, their namespaces by number. Throws HostReadError. */
export async function readNvmeControllers(host: HostChannel): Promise<Map<string, NvmeController>> {
  const controllers = new Map<string, NvmeController>();
  const names = (await ifPresent(host.list(CONTROLLERS))) ?? [];
  if (names.length === 0) return controllers;
  const namespaces = await readNamespaces(host);
  for (const name of names) {
    const directory = `${CONTROLLERS}/${name}`;
    const address = pciAddressIn((await ifPresent(host.readLink(directory))) ?? "");
    // One that is reached over a network is on no bus.
    if (address === undefined) continue;
    const text = async (file: string) => (await ifPresent(host.read(`${directory}/${file}`)))?.trim() || undefined;
    controllers.set(address, {
      model: await text("model"),
      serial: await text("serial"),
      firmware: await text("firmware_rev"),
      namespaces: (namespaces.get(name) ?? []).sort((a, b) => a.id - b.id),
    });
  }
  return controllers;
}

/** By the controller's name. */
async function readNamespaces(host: HostChannel): Promise<Map<string, NvmeNamespace[]>> {
  const namespaces = new Map<string, NvmeNamespace[]>();
  for (const name of (await ifPresent(host.list(BLOCK))) ?? []) {
    const match = /^nvme(\d+)(?:c\d+)?n(\d+)$/.exec(name);
    if (!match) continue;
    // The disk of a namespace with several ways to it ("nvme0c1n1") is another device, which no controller's path leads to.
    const path = (await ifPresent(host.readLink(`${BLOCK}/${name}`))) ?? "";
    const controller = /\/nvme\/(nvme\d+)\//.exec(path)?.[1];
    if (controller === undefined) continue;
    const disk = `nvme${match[1]}n${match[2]}`;
    const number = (file: string) => ifPresent(readInteger(host, `${BLOCK}/${disk}/${file}`));
    const namespace: NvmeNamespace = {
      // Kernels before 4.8 do not tell; the name's number is the namespace's then.
      id: (await number("nsid")) ?? Number(match[2]),
      disk,
      sizeBytes: ((await number("size")) ?? 0) * SECTOR_BYTES,
      blockBytes: (await number("queue/logical_block_size")) ?? SECTOR_BYTES,
    };
    namespaces.set(controller, [...(namespaces.get(controller) ?? []), namespace]);
  }
  return namespaces;
}
