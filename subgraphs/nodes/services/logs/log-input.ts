import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { LogFilter } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import { checkInteger, checkName } from "../../../kit/input-checks.ts";

/** By syslog's numbers: each includes the ones before it. */
export const LOG_PRIORITIES = ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"] as const;
export type LogPriority = (typeof LOG_PRIORITIES)[number];

export interface RawLogFilter {
  service?: string | null;
  since?: Date | null;
  until?: Date | null;
  lastHours?: number | null;
  lastDays?: number | null;
  priority?: LogPriority | null;
  text?: string | null;
  guestName?: string | null;
  thisBoot?: boolean | null;
}

export interface RawLogPage {
  first?: number | null;
  after?: string | null;
  last?: number | null;
  before?: string | null;
}

/** What an agent is asked for: one direction, from one entry or from the end. */
export interface LogPageRequest {
  limit: number;
  after: string;
  before: string;
}

const DEFAULT_PAGE = 50;
const MAX_PAGE = 500;
const HOUR_MS = 3_600_000;
const MAX_HOURS = 24 * 366 * 10;
const MAX_TEXT = 256;
const MAX_CURSOR = 512;

/** Throws INVALID_ARGUMENT. What a unit's name may be is the agent's to judge. */
export function checkLogFilter(raw: RawLogFilter | null, now = Date.now()): LogFilter {
  const { since, until, lastHours, lastDays, priority } = raw ?? {};
  const beginnings = [since, lastHours, lastDays].filter((one) => one !== null && one !== undefined);
  if (beginnings.length > 1) throw invalidArgument("filter.since", "Only one of since, lastHours and lastDays says where to begin.");
  const service = checkName("filter.service", raw?.service, 255) ?? "";
  const guestName = checkName("filter.guestName", raw?.guestName, 255) ?? "";
  if (guestName !== "" && service !== "qemu") throw invalidArgument("filter.guestName", 'Only the service "qemu" has logs of guests.');
  return {
    ...{ service, guestName },
    since: since ?? beginningOf(lastHours, lastDays, now),
    until: until ?? undefined,
    priority: priority ? LOG_PRIORITIES.indexOf(priority) : undefined,
    text: checkName("filter.text", raw?.text, MAX_TEXT) ?? "",
    thisBoot: raw?.thisBoot ?? false,
  };
}

/** Relay's four arguments as what an agent understands. `first` alone, `last` alone and neither: the newest. */
export function checkLogPage({ first, after, last, before }: RawLogPage): LogPageRequest {
  const given = (value: unknown) => value !== null && value !== undefined && value !== "";
  if (given(first) && given(last)) throw invalidArgument("last", "Either first or last, not both.");
  if (given(after) && given(before)) throw invalidArgument("before", "Either after or before, not both.");
  if (given(last) && given(after)) throw invalidArgument("last", "Use first with after, and last with before.");
  if (given(first) && given(before)) throw invalidArgument("first", "Use first with after, and last with before.");
  const limit = checkInteger(given(last) ? "last" : "first", first ?? last ?? DEFAULT_PAGE, 1, MAX_PAGE);
  return { limit, after: checkName("after", after, MAX_CURSOR) ?? "", before: checkName("before", before, MAX_CURSOR) ?? "" };
}

export function checkLogCursor(after: string | null | undefined): string {
  return checkName("after", after, MAX_CURSOR) ?? "";
}

function beginningOf(hours: number | null | undefined, days: number | null | undefined, now: number): Date | undefined {
  if (hours !== null && hours !== undefined) return new Date(now - checkInteger("filter.lastHours", hours, 1, MAX_HOURS) * HOUR_MS);
  if (days !== null && days !== undefined) return new Date(now - checkInteger("filter.lastDays", days, 1, MAX_HOURS / 24) * 24 * HOUR_MS);
  return undefined;
}
