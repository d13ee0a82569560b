import type { DeviceUser } from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { Stored } from "../inventory-parts.ts";

export interface DeviceUserView {
  /** Of an instance of ours; null: a guest that others made. */
  instance: { id: string } | null;
  guestName: string | null;
}

export function deviceUserView(user: Stored<DeviceUser> | undefined): DeviceUserView | null {
  if (!user) return null;
  return { instance: user.instanceId ? { id: user.instanceId } : null, guestName: user.guestName || null };
}
