import { isDeepStrictEqual } from "node:util";
import type { JsonObject } from "../../../kit/store/json.ts";
import { HARDWARE_LISTS, type HardwareChangeKind, type HardwareList, type HardwareSubject } from "./hardware-subjects.ts";
import type { InventoryPartName, StoredContent } from "./inventory-parts.ts";

/** What happened to one piece of hardware. */
export interface HardwareChange {
  part: InventoryPartName;
  /** Of the piece, unique in its part: a PCI address, a USB port, the name of an interface or a disk, an accelerator's id. */
  id: string;
  kind: HardwareChangeKind;
  /** A sentence, for people. */
  description: string;
  /** As it is now; on DEVICE_REMOVED as it was last. */
  item: JsonObject;
}

type Item = JsonObject;
/** The lists know their items; here they are any. */
type AnyList = { subject: HardwareSubject<Item>; items(content: StoredContent): Item[] | null };

/**
 * What became of the hardware between two readings of a part, in the order of the list, what is gone first. Before the first reading, and
 * after one that failed, nothing is known: then only disks that are failing are told.
 */
export function hardwareChanges(part: InventoryPartName, before: StoredContent | null, after: StoredContent): HardwareChange[] {
  const hardware = HARDWARE_LISTS[part] as (HardwareList & AnyList) | undefined;
  const now = hardware?.items(after as never) ?? null;
  if (hardware === undefined || now === null) return [];
  const { subject } = hardware;
  const change = (kind: HardwareChangeKind, item: Item, what: string): HardwareChange => {
    return { part, id: subject.id(item), kind, description: `${subject.name(item)} ${what}`, item };
  };
  const known = before === null ? null : hardware.items(before as never);
  const had = new Map(known?.map((item: Item) => [subject.id(item), item]));
  const has = new Set(now.map((item: Item) => subject.id(item)));
  const gone = (known ?? []).filter((item: Item) => !has.has(subject.id(item)));
  return [
    ...gone.map((item: Item) => change("DEVICE_REMOVED", item, "was removed.")),
    ...now.flatMap((item: Item) => {
      const was = had.get(subject.id(item));
      const changes: HardwareChange[] = [];
      const replaced = was !== undefined && subject.isAnother?.(was, item) === true;
      if (replaced) changes.push(change("DEVICE_REMOVED", was, "was removed."));
      if (replaced || (known !== null && was === undefined)) changes.push(change("DEVICE_ADDED", item, "was added."));
      const turn = subject.turn?.(replaced ? undefined : was, item) ?? null;
      if (turn !== null) changes.push(change(turn.kind, item, turn.what));
      else if (was !== undefined && !replaced) {
        const fields = changedFields(subject.lasting(was), subject.lasting(item));
        if (fields.length > 0) changes.push(change("DEVICE_CHANGED", item, `changed: ${fields.join(", ")}.`));
      }
      return changes;
    }),
  ];
}

/** All that a part has, as removed: its node has left the fleet. */
export function hardwareGone(part: InventoryPartName, content: StoredContent): HardwareChange[] {
  const hardware = HARDWARE_LISTS[part] as (HardwareList & AnyList) | undefined;
  const items = hardware?.items(content as never) ?? [];
  return items.map((item: Item) => {
    const { id, name } = (hardware as AnyList).subject;
    return { part, id: id(item), kind: "DEVICE_REMOVED", description: `${name(item)} left the fleet with its node.`, item };
  });
}

function changedFields(before: object, after: object): string[] {
  const [was, is] = [before as JsonObject, after as JsonObject];
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].filter((key) => !isDeepStrictEqual(was[key], is[key]));
}
