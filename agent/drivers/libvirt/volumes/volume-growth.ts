import type { LibvirtClient } from "../../../libvirt/client.ts";
import { BLOCK_RESIZE } from "../../../libvirt/values.ts";
import { precondition } from "../../shared/refusals.ts";
import { attempt } from "../driver-errors.ts";
import { wholeSteps } from "../storage/storage-plan.ts";
import type { StoragePool, Volume } from "../storage/storage-pool.ts";
import type { DiskUse } from "./disk-users.ts";
import type { VolumeFormat } from "./names.ts";
import { capacityOf, isAsDeclared } from "./volume-content.ts";

export interface Growth {
  client: LibvirtClient;
  store: StoragePool;
  volume: Volume & { declared: VolumeFormat };
  name: string;
  /** Of its file. */
  uses: readonly DiskUse[];
  capacityBytes: number;
  signal: AbortSignal;
}

/** Grows a volume: by the guest's own hypervisor where it runs with it, else by libvirt's tools. FAILED_PRECONDITION VolumeShrink, VolumeInUse. */
export async function growVolume(growth: Growth): Promise<void> {
  const { store, volume, name, uses, capacityBytes, signal } = growth;
  const capacity = wholeSteps(capacityBytes);
  const running = uses.filter(({ live }) => live);
  const fixed = uses.find(({ isTop }) => !isTop) ?? running.find(({ readOnly }) => readOnly);
  if (fixed !== undefined) {
    throw precondition("VolumeInUse", `The volume ${name} cannot grow while ${fixed.user} reads it, or stands on it.`, {
      usedBy: [fixed.user],
    });
  }
  const [user] = running;
  if (user !== undefined) await growRunning(growth, user, capacity);
  else {
    checkGrowth(name, capacityOf(volume, volume.declared), capacity, volume.declared);
    if (!isAsDeclared(volume, volume.declared)) {
      const message = `libvirt takes the content of the raw volume ${name} for ${volume.format}: it grows only while an instance runs with it.`;
      throw precondition("VolumeContent", message);
    }
    if (capacity > capacityOf(volume, volume.declared)) await store.resize(volume, capacity, signal);
  }
  await store.refresh(signal);
}

async function growRunning(
  { client, name, volume, signal }: Growth,
  { domainUuid, target, user }: DiskUse,
  capacity: number,
): Promise<void> {
  const dom = { name: user, uuid: domainUuid };
  await attempt(`resize the volume ${name}`, async () => {
    const now = await client.call("domainGetBlockInfo", { dom, path: target }, { signal });
    checkGrowth(name, now.capacity, capacity, volume.declared);
    if (capacity === now.capacity) return;
    await client.call("domainBlockResize", { dom, disk: target, size: capacity, flags: BLOCK_RESIZE.BYTES }, { signal });
  });
}

function checkGrowth(name: string, now: number, capacity: number, format: VolumeFormat): void {
  if (capacity >= now) return;
  throw precondition("VolumeShrink", `The ${format} volume ${name} has ${now} bytes; volumes only grow, ${capacity} are fewer.`, {
    capacityBytes: now,
  });
}
