import { requireRole } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { LogEvent } from "../../../kit/events/event.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { checkId, checkListLength, checkOneOf } from "../../../kit/input-checks.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { Transaction } from "../../../kit/store/orm.ts";
import type { HardwareChange } from "./hardware-changes.ts";
import { INVENTORY_PARTS, type InventoryPartName } from "./inventory-parts.ts";

const HARDWARE_STREAM = "hardware";

/** A change as the event log has it. An event's object is the piece of hardware: its last change stands for it in a snapshot. */
export interface NodeHardwareChange extends HardwareChange {
  nodeId: string;
}

export interface HardwareEventFilter {
  nodeId?: string | null;
  parts?: readonly string[] | null;
}

export interface HardwareWatch {
  filter?: HardwareEventFilter | null;
  after?: string | null;
  snapshot?: boolean | null;
}

const EVENT_TYPES: Partial<Record<HardwareChange["kind"], "ADDED" | "DELETED">> = { DEVICE_ADDED: "ADDED", DEVICE_REMOVED: "DELETED" };

/** In the transaction that stores the reading by which the change was found. */
export function emitHardwareChange(emit: Transaction["emit"], nodeId: string, change: HardwareChange): void {
  const { part, id } = change;
  const type = EVENT_TYPES[change.kind] ?? "MODIFIED";
  // Filters look at node and part alone, which stay the same.
  const previous = type === "ADDED" ? null : { nodeId, part };
  emit(HARDWARE_STREAM, { type, objectId: `${nodeId}/${part}/${id}`, object: { nodeId, ...change } as JsonObject, previous });
}

/** The changes of all nodes' hardware. */
export class HardwareEvents {
  readonly #log: EventLog;

  constructor(log: EventLog) {
    this.#log = log;
  }

  /** Rights: viewer. Throws INVALID_ARGUMENT at once; what is wrong with `after` comes with the first event. */
  watch(ctx: RequestContext, { filter, after, snapshot }: HardwareWatch): AsyncIterableIterator<LogEvent<NodeHardwareChange>> {
    requireRole(ctx.identity, "viewer");
    const options = { after, snapshot: snapshot ?? false, bookmarks: true, signal: ctx.signal };
    return this.#log.watch<NodeHardwareChange>(HARDWARE_STREAM, { ...options, matches: matcher(filter ?? {}) });
  }
}

function matcher({ nodeId, parts }: HardwareEventFilter): ((change: NodeHardwareChange) => boolean) | undefined {
  const node = nodeId === null || nodeId === undefined ? null : checkId("filter.nodeId", nodeId);
  checkListLength("filter.parts", parts ?? [], INVENTORY_PARTS.length);
  const wanted = new Set<InventoryPartName>((parts ?? []).map((part) => checkOneOf("filter.parts", part, INVENTORY_PARTS)));
  if (node === null && wanted.size === 0) return undefined;
  return (change) => (node === null || change.nodeId === node) && (wanted.size === 0 || wanted.has(change.part));
}
