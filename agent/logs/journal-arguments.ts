import type { HostCommand } from "../host/host-channel.ts";
import type { CheckedFilter } from "./log-request.ts";

/** Where in the journal to begin, and which way to go. */
export interface JournalPlace {
  /** Newest first. */
  backward: boolean;
  /** An entry; it is not given itself. Null: the end that the direction begins at. */
  from: string | null;
}

const FIELDS = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_COMM,_PID,SYSLOG_PID,_BOOT_ID";

/** journalctl for a page, which is read until it is long enough. The filter's time is left to the reader where journalctl cannot have both it and a cursor. */
export function pageCommand(filter: CheckedFilter, { backward, from }: JournalPlace, directory: string | null): HostCommand {
  const args = [
    ...(backward ? ["--reverse"] : []),
    ...(from === null ? [] : [`--after-cursor=${from}`]),
    ...(filter.since === null || from !== null ? [] : [`--since=${timeText(filter.since)}`]),
    ...(filter.until === null || (backward && from !== null) ? [] : [`--until=${timeText(filter.until)}`]),
  ];
  return journalctl([...args, ...matches(filter)], directory);
}

/** journalctl for what is behind an entry or since a time, and then for what is written. */
export function followCommand(filter: CheckedFilter, after: string | null, directory: string | null): HostCommand {
  const isFromNow = after === null && filter.since === null;
  const args = [
    "--follow",
    ...(isFromNow ? ["--lines=0"] : ["--no-tail"]),
    ...(after === null ? [] : [`--after-cursor=${after}`]),
    ...(filter.since === null || after !== null ? [] : [`--since=${timeText(filter.since)}`]),
  ];
  return journalctl([...args, ...matches(filter)], directory);
}

/** journalctl for one entry, with a message of any length. */
export function entryCommand(cursor: string, directory: string | null): HostCommand {
  return journalctl([`--cursor=${cursor}`, "--lines=1", "--all"], directory);
}

/** journalctl for how much there is at all. */
export function sizeCommand(directory: string | null): HostCommand {
  return journalctl(["--disk-usage"], directory);
}

function journalctl(args: readonly string[], directory: string | null): HostCommand {
  const where = directory === null ? [] : [`--directory=${directory}`];
  return {
    program: "journalctl",
    args: ["--no-pager", "--output=json", `--output-fields=${FIELDS}`, ...where, ...args],
    privileged: directory === null,
  };
}

function matches({ service, priority, text, thisBoot }: CheckedFilter): string[] {
  return [
    ...(thisBoot ? ["--boot"] : []),
    ...(priority === null ? [] : [`--priority=${priority}`]),
    ...(text === null ? [] : [`--grep=${literally(text)}`, "--case-sensitive=no"]),
    ...(service === null || service === "kernel" ? [] : [`--unit=${service}`]),
    ...(service === "kernel" ? ["_TRANSPORT=kernel"] : []),
  ];
}

/** A text as a PCRE2 pattern that matches it and nothing else. */
function literally(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N}\s_]/gu, "\\$&");
}

function timeText(time: Date): string {
  return `@${(time.getTime() / 1000).toFixed(3)}`;
}
