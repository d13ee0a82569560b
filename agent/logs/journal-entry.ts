import type { LogEntry } from "../../schema/generated/proto/hypervisor/v1/logs.ts";

/** An entry, and whether journalctl left its message out because it is long. */
export interface JournalEntry {
  entry: LogEntry;
  isMessageLeftOut: boolean;
}

const MAX_MESSAGE_BYTES = 16 * 1024;

/** journalctl writes what is no UTF-8 as a list of bytes, what is too long as null, and a field that occurs several times as a list of those. */
type Value = string | null | undefined | readonly unknown[];

/** One line of `journalctl --output=json`; null for what is none. Called for each of very many: nothing is made that is not given on. */
export function parseJournalLine(content: string): JournalEntry | null {
  const line = fieldsOf(content);
  const microseconds = Number(line?.["__REALTIME_TIMESTAMP"]);
  const cursor = line?.["__CURSOR"];
  if (line === null || typeof cursor !== "string" || !Number.isSafeInteger(microseconds)) return null;
  const { message, truncated } = bounded(textOf(line["MESSAGE"]));
  const entry: LogEntry = {
    cursor,
    time: new Date(microseconds / 1000),
    priority: numberOf(line["PRIORITY"]),
    // Of messages of the service manager about a unit: that unit.
    unit: textOf(line["UNIT"]) || textOf(line["_SYSTEMD_UNIT"]),
    identifier: textOf(line["SYSLOG_IDENTIFIER"]) || textOf(line["_COMM"]),
    pid: numberOf(line["_PID"]) ?? numberOf(line["SYSLOG_PID"]),
    ...{ message, truncated },
    bootId: textOf(line["_BOOT_ID"]),
  };
  return { entry, isMessageLeftOut: line["MESSAGE"] === null };
}

function fieldsOf(content: string): Record<string, Value> | null {
  try {
    const json: unknown = JSON.parse(content);
    return typeof json === "object" && json !== null ? (json as Record<string, Value>) : null;
  } catch {
    return null;
  }
}

/** A message in at most 16 KiB, cut between characters. */
export function bounded(message: string): Pick<LogEntry, "message" | "truncated"> {
  if (message.length <= MAX_MESSAGE_BYTES / 3 || Buffer.byteLength(message) <= MAX_MESSAGE_BYTES) return { message, truncated: false };
  const cut = Buffer.from(message).subarray(0, MAX_MESSAGE_BYTES).toString("utf8");
  return { message: cut.replace(/\uFFFD+$/, ""), truncated: true };
}

function textOf(field: Value): string {
  if (typeof field === "string") return field;
  if (!Array.isArray(field)) return "";
  if (field.every((one) => typeof one === "number")) return Buffer.from(field as number[]).toString("utf8");
  const first: unknown = field[0];
  return typeof first === "string" || Array.isArray(first) ? textOf(first) : "";
}

function numberOf(field: Value): number | undefined {
  const content = textOf(field);
  return /^\d{1,9}$/.test(content) ? Number(content) : undefined;
}
