import type { ContentOf, InventoryPartName, StoredContent } from "../inventory-parts.ts";
import { byName, neverReported, type Unavailable } from "../unavailable.ts";

export interface PartStatusView {
  part: InventoryPartName;
  observedAt: Date | null;
  unavailable: Unavailable[];
}

type Names = Record<string, readonly string[]>;

/** What lists of a part are told apart by. */
const NAMES: { [Part in InventoryPartName]?: (content: ContentOf<Part>) => Names } = {
  PCI: ({ devices }) => ({ devices: devices.map(({ address }) => address) }),
  USB: ({ devices }) => ({ devices: devices.map(({ port }) => port) }),
  NETWORK: ({ interfaces }) => ({ interfaces: interfaces.map(({ name }) => name) }),
  DISKS: ({ disks }) => ({ disks: disks.map(({ name }) => name) }),
  ACCELERATORS: ({ accelerators }) => ({ accelerators: accelerators.map(({ id }) => id) }),
};

/** `missing`: why there is none. */
export function partStatusView(
  part: InventoryPartName,
  inventory: { content: StoredContent; observedAt: Date } | null,
  missing: Unavailable["reason"],
): PartStatusView {
  if (inventory === null) return { part, observedAt: null, unavailable: neverReported([part.toLowerCase()], missing) };
  const names = NAMES[part] as ((content: StoredContent) => Names) | undefined;
  const { content, observedAt } = inventory;
  return { part, observedAt, unavailable: byName(content.unavailable, names?.(content) ?? {}) };
}
