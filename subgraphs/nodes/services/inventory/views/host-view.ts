import type { ContentOf } from "../inventory-parts.ts";
import { neverReported, type Unavailable } from "../unavailable.ts";

const FIELDS = ["uuid", "bootId", "bootedAt", "operatingSystem", "kernel", "architecture"].concat([
  "hypervisor",
  "hypervisorVersion",
  "libvirtVersion",
  "virtualization",
]);

export interface HostSources {
  inventory: { content: ContentOf<"HOST">; observedAt: Date } | null;
  /** Why there is no inventory. */
  missing: Unavailable["reason"];
}

export function hostView({ inventory, missing }: HostSources) {
  const { bootedAt, unavailable, ...rest } = inventory?.content ?? {};
  return {
    ...rest,
    bootedAt: bootedAt === undefined ? null : new Date(bootedAt),
    observedAt: inventory?.observedAt ?? null,
    unavailable: unavailable ?? neverReported(FIELDS, missing),
  };
}
