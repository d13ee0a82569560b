import type { Accelerator, AcceleratorUsage } from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { unavailableReason } from "../../../../kit/agents/node-record.ts";
import type { ContentOf, Stored } from "../inventory-parts.ts";
import type { Live } from "../live-reads.ts";
import { byName, knownList, type Unavailable } from "../unavailable.ts";
import { ACCELERATOR_VENDORS, type AcceleratorVendorName, enumName } from "./enum-names.ts";

export type AcceleratorView = ReturnType<typeof acceleratorView>;

/** By vendor and number; null where they could not be read. `usage`: null where nobody asked. */
export function acceleratorViews(
  content: ContentOf<"ACCELERATORS">,
  usage: Live<AcceleratorUsage> | null,
  vendor?: AcceleratorVendorName | null,
): AcceleratorView[] | null {
  const stored = byName(content.unavailable, { accelerators: content.accelerators.map(({ id }) => id) });
  const views = knownList(content, "accelerators", content.accelerators)?.map((one) => acceleratorView(one, stored, usage));
  if (vendor === null || vendor === undefined) return views ?? null;
  return views?.filter((one) => one.vendor === vendor) ?? null;
}

export function acceleratorView(accelerator: Stored<Accelerator>, stored: readonly Unavailable[], usage: Live<AcceleratorUsage> | null) {
  const { id } = accelerator;
  const read = usage && "value" in usage ? usage.value : null;
  const sample = read?.samples.find((one) => one.id === id);
  return {
    ...accelerator,
    vendor: enumName(ACCELERATOR_VENDORS, "ACCELERATOR_VENDOR_", accelerator.vendor),
    usage: sample && read ? { ...sample, observedAt: read.observedAt ?? null } : null,
    unavailable: [...about(stored, "accelerators", id), ...usageUnavailable(usage, id)],
  };
}

function usageUnavailable(usage: Live<AcceleratorUsage> | null, id: string): Unavailable[] {
  if (usage === null) return [];
  if ("refusal" in usage) return [{ field: "usage", reason: unavailableReason(usage.refusal), message: usage.refusal.message }];
  const { samples, unavailable } = usage.value;
  const named = byName(unavailable, { samples: samples.map((one) => one.id) });
  const own = about(named, "samples", id).map((one) => ({ ...one, field: `usage.${one.field}` }));
  // What is about none of them by name is about all: a vendor's program that cannot be run.
  const common = named.filter(({ field }) => !field.startsWith("samples["));
  const hasSample = samples.some((one) => one.id === id);
  return [...own, ...(hasSample ? [] : common.map((one) => ({ ...one, field: "usage" })))];
}

/** Entries about one of a list, with their paths below it. */
function about(unavailable: readonly Unavailable[], list: string, id: string): Unavailable[] {
  const prefix = `${list}[${id}]`;
  return unavailable
    .filter(({ field }) => field.startsWith(prefix))
    .map((one) => ({ ...one, field: one.field.slice(prefix.length).replace(/^\./, "") }));
}
