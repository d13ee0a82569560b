import type { MigrationProgress } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { TypedParameters } from "../../../libvirt/protocol/typed-parameters.ts";

/** What the statistics of a migration's job mean for those who wait for it. */
export function progressOf(stats: TypedParameters): MigrationProgress {
  const bytes = (name: string) => Number(stats[name] ?? 0);
  const disksLeft = bytes("disk_remaining") > 0 || (bytes("disk_total") > 0 && bytes("memory_processed") === 0);
  return {
    phase: disksLeft ? "disks" : "memory",
    currentBytes: bytes("disk_processed") + bytes("memory_processed"),
    totalBytes: bytes("disk_total") + bytes("memory_total"),
    cookie: "",
  };
}
