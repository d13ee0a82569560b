import type { LogEntry } from "../../schema/generated/proto/hypervisor/v1/logs.ts";
import { bounded } from "./journal-entry.ts";
import { type CheckedFilter, notACursor } from "./log-request.ts";

/** A line of a guest's log. QEMU writes the time on some lines only: the others have that of the line before. */
export interface QemuLine {
  guest: string;
  /** Where it begins in the file, in bytes. */
  offset: number;
  /** Milliseconds since the epoch; 0: not known. */
  at: number;
  text: string;
}

export type QemuPlace = Pick<QemuLine, "guest" | "offset" | "at">;

/** "2026-11-21 19:00:00.123+0000: starting up libvirt …", or QEMU's own "2026-11-21T19:00:00.123456Z qemu-system-x86_64: …". */
const STAMP = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,3})?)\d*(?:Z|([+-]\d\d):?(\d\d))/;

/** The time that a line begins with; null for none. */
export function stampOf(text: string): number | null {
  const [, day, time, hours, minutes] = STAMP.exec(text) ?? [];
  if (day === undefined) return null;
  const at = Date.parse(`${day}T${time}${hours === undefined ? "Z" : `${hours}:${minutes}`}`);
  return Number.isNaN(at) ? null : at;
}

/** In the order of time; within a guest, of its file. */
export function inOrder(a: QemuPlace, b: QemuPlace): number {
  if (a.at !== b.at) return a.at - b.at;
  if (a.guest !== b.guest) return a.guest < b.guest ? -1 : 1;
  return a.offset - b.offset;
}

export function matches({ since, until, text }: CheckedFilter, line: QemuLine): boolean {
  if (since !== null && line.at < since.getTime()) return false;
  if (until !== null && line.at > until.getTime()) return false;
  return text === null || line.text.toLowerCase().includes(text.toLowerCase());
}

export function entryOf(line: QemuLine): LogEntry {
  return {
    cursor: cursorOf(line),
    time: line.at === 0 ? undefined : new Date(line.at),
    priority: undefined,
    unit: "qemu",
    identifier: line.guest,
    pid: undefined,
    ...bounded(line.text),
    bootId: "",
  };
}

/** Throws INVALID_ARGUMENT for what `entryOf` did not write. */
export function placeOf(field: string, cursor: string): QemuPlace {
  const [, at, offset, guest] = /^q1:(\d{1,16}):(\d{1,16}):([A-Za-z0-9_-]+)$/.exec(cursor) ?? [];
  if (guest === undefined) throw notACursor(field);
  return { at: Number(at), offset: Number(offset), guest: Buffer.from(guest, "base64url").toString("utf8") };
}

function cursorOf({ at, offset, guest }: QemuPlace): string {
  return `q1:${at}:${offset}:${Buffer.from(guest).toString("base64url")}`;
}
