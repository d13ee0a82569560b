import type { Sriov, VirtualFunction } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import type { DeviceUsers } from "../device-users.ts";
import { countOf, linkedName, namesIn } from "../sysfs.ts";

const DEVICES = "/sys/bus/pci/devices";

/** Of PCI devices by address, so that every subject that asks reads the same. */
export const SRIOV_PATHS = ["sriov_totalvfs", "sriov_numvfs", "virtfn*", "driver", "net"].map((name) => `${DEVICES}/*/${name}`);

/** The virtual functions of a physical one; undefined for a device that can have none. */
export async function readSriov(host: HostChannel, address: string, users: DeviceUsers): Promise<Sriov | undefined> {
  const directory = `${DEVICES}/${address}`;
  const totalVfs = await countOf(host, `${directory}/sriov_totalvfs`);
  if (totalVfs === undefined || totalVfs === 0) return undefined;
  const enabledVfs = Math.min((await countOf(host, `${directory}/sriov_numvfs`)) ?? 0, totalVfs);
  const functions: VirtualFunction[] = [];
  for (let index = 0; index < enabledVfs; index += 1) {
    const vf = await linkedName(host, `${directory}/virtfn${index}`);
    if (vf === undefined) continue;
    functions.push({
      index,
      address: vf,
      driver: await linkedName(host, `${DEVICES}/${vf}/driver`),
      interfaces: await namesIn(host, `${DEVICES}/${vf}/net`),
      user: users.pci.get(vf),
    });
  }
  return { totalVfs, enabledVfs, functions };
}
