import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { LogFilter } from "../../schema/generated/proto/hypervisor/v1/logs.ts";

/** A filter whose values are those that the host's programs may be given. */
export interface CheckedFilter {
  /** A unit; "kernel"; "qemu"; null: everything in the journal. */
  service: string | null;
  since: Date | null;
  until: Date | null;
  /** 0–7: that and worse. */
  priority: number | null;
  text: string | null;
  guestName: string | null;
  thisBoot: boolean;
}

export interface LogPage {
  limit: number;
  /** Entries behind it; null: not asked for. One of the two at most is set. */
  after: string | null;
  before: string | null;
}

export const MOST_ENTRIES = 1000;
const MAX_TEXT = 256;
const MAX_CURSOR = 512;
const UNIT = /^[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,254}$/;
const GUEST = /^[^/\p{Cc}]{1,255}$/u;
const CONTROL = /\p{Cc}/u;
const WORST = 0;
const LEAST = 7;

/** Throws INVALID_ARGUMENT. */
export function checkFilter(filter: LogFilter | undefined): CheckedFilter {
  const { service = "", text = "", guestName = "", thisBoot = false, priority, since = null, until = null } = filter ?? {};
  if (service !== "" && !UNIT.test(service)) throw invalidArgument("filter.service", "It is the name of a systemd unit, kernel, or qemu.");
  if (text.length > MAX_TEXT || CONTROL.test(text)) {
    throw invalidArgument("filter.text", `It has at most ${MAX_TEXT} characters, none of them a control character.`);
  }
  if (guestName !== "" && !GUEST.test(guestName)) throw invalidArgument("filter.guest_name", "It is the name of a guest.");
  if (guestName !== "" && service !== "qemu") throw invalidArgument("filter.guest_name", "Only the service qemu has logs of guests.");
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= WORST && priority <= LEAST)) {
    throw invalidArgument("filter.priority", "A priority is a number from 0 (emerg) to 7 (debug).");
  }
  for (const [field, time] of [["since", since] as const, ["until", until] as const]) {
    if (time !== null && !(time.getTime() >= 0)) throw invalidArgument(`filter.${field}`, "It is a time since 1970.");
  }
  return {
    ...{ service: service || null, text: text || null, guestName: guestName || null },
    ...{ since, until, thisBoot, priority: priority ?? null },
  };
}

export function checkLimit(limit: number): number {
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_ENTRIES) {
    throw invalidArgument("limit", `It is a number from 1 to ${MOST_ENTRIES}.`);
  }
  return limit;
}

/** Empty: null. What a cursor says is for its log to judge. */
export function checkCursor(field: string, cursor: string): string | null {
  if (cursor === "") return null;
  if (cursor.length > MAX_CURSOR || CONTROL.test(cursor)) throw notACursor(field);
  return cursor;
}

export function notACursor(field: string): Error {
  return invalidArgument(field, "It is no cursor of this log.");
}
