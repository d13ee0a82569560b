import { setTimeout as sleep } from "node:timers/promises";
import type { LogEntry, ReadLogsResponse } from "../../schema/generated/proto/hypervisor/v1/logs.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { unreadable } from "./journal.ts";
import type { CheckedFilter, LogPage } from "./log-request.ts";
import { entryOf, inOrder, matches, placeOf, type QemuLine, type QemuPlace, stampOf } from "./qemu-line.ts";

const DIRECTORY = "/var/log/libvirt/qemu";
/** Of each guest's log, the end: what is older is left to people with a shell. */
const WINDOW_BYTES = 128 * 1024;
/** The guests whose logs grew last. */
const MOST_GUESTS = 64;
const LOOK_EVERY_MS = 1000;

interface LogFile {
  guest: string;
  path: string;
  size: number;
}

/** What QEMU writes about each guest, by libvirt's care, in one file for each. */
export class QemuLogs {
  readonly #host: HostChannel;

  constructor(host: HostChannel) {
    this.#host = host;
  }

  /** Throws FAILED_PRECONDITION (NoQemuLogs, NoShell, NoPermission), INVALID_ARGUMENT for a cursor that is none. */
  async read(filter: CheckedFilter, { limit, after, before }: LogPage, signal: AbortSignal): Promise<ReadLogsResponse> {
    const [from, to] = [after === null ? null : placeOf("after", after), before === null ? null : placeOf("before", before)];
    const files = await this.#files(filter, signal);
    const lines: QemuLine[] = [];
    for (const file of files) {
      const start = Math.max(0, file.size - WINDOW_BYTES);
      for await (const line of this.#lines(file, start, start > 0, signal)) if (matches(filter, line)) lines.push(line);
    }
    lines.sort(inOrder);
    const isCut = files.some(({ size }) => size > WINDOW_BYTES);
    if (from !== null) {
      const behind = lines.filter((line) => inOrder(line, from) > 0);
      return { entries: behind.slice(0, limit).map(entryOf), hasOlder: true, hasNewer: behind.length > limit };
    }
    const ahead = to === null ? lines : lines.filter((line) => inOrder(line, to) < 0);
    return { entries: ahead.slice(-limit).map(entryOf), hasOlder: ahead.length > limit || isCut, hasNewer: to !== null };
  }

  /** Looks at the files every second: guests come and go. */
  async *follow(filter: CheckedFilter, after: string | null, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const from = after === null ? null : placeOf("after", after);
    const isFromNow = from === null && filter.since === null;
    const read = new Map<string, number>();
    for (let first = true; !signal.aborted; first = false) {
      for (const file of await this.#files(filter, signal)) {
        const known = read.get(file.path);
        const start = known === undefined ? startOf(file, first && isFromNow) : resumedAt(file, known);
        const isInside = known === undefined && start > 0 && start < file.size;
        const note = (offset: number) => read.set(file.path, offset);
        for await (const line of this.#lines(file, start, isInside, signal, note)) {
          if (matches(filter, line) && !(first && from !== null && inOrder(line, from) <= 0)) yield entryOf(line);
        }
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async #files({ guestName }: CheckedFilter, signal: AbortSignal): Promise<LogFile[]> {
    try {
      const names = (await this.#host.list(DIRECTORY)).filter((name) => name.endsWith(".log"));
      const wanted = guestName === null ? names : names.filter((name) => name === `${guestName}.log`);
      if (wanted.length === 0) return [];
      const paths = wanted.map((name) => `${DIRECTORY}/${name}`);
      const { stdout } = await this.#host.exec({ program: "stat", args: ["--format=%Y %s %n", "--", ...paths] }, { signal });
      return newest(stdout);
    } catch (error) {
      if (error instanceof HostReadError && error.reason === "NOT_PRESENT") {
        throw precondition("NoQemuLogs", `This host has no ${DIRECTORY}: libvirt's QEMU driver has run no guest here.`);
      }
      throw unreadable(error);
    }
  }

  /** Whole lines from `start` to what was the end. `isInside`: it may be the middle of a line, which is left out. */
  async *#lines(
    { guest, path, size }: LogFile,
    start: number,
    isInside: boolean,
    signal: AbortSignal,
    onRead: (offset: number) => unknown = () => undefined,
  ): AsyncGenerator<QemuLine> {
    onRead(start);
    if (start >= size) return;
    const running = await this.#host
      .follow({ program: "tail", args: [`--bytes=+${start + 1}`, "--", path] }, signal)
      .catch((error: unknown) => {
        throw unreadable(error);
      });
    let place: QemuPlace = { guest, offset: start, at: 0 };
    let isPart = isInside;
    try {
      for await (const text of running.lines) {
        const end = place.offset + Buffer.byteLength(text) + 1;
        if (end > size) break;
        place = { ...place, at: stampOf(text) ?? place.at };
        if (!isPart) yield { ...place, text };
        isPart = false;
        place = { ...place, offset: end };
        onRead(end);
      }
    } finally {
      await running.close();
    }
  }
}

function startOf({ size }: LogFile, isFromNow: boolean): number {
  return isFromNow ? size : Math.max(0, size - WINDOW_BYTES);
}

/** A file that is shorter than what was read of it has been begun anew. */
function resumedAt({ size }: LogFile, known: number): number {
  return known > size ? 0 : known;
}

/** "1700000000 123 /var/log/libvirt/qemu/guest.log" */
function newest(listing: string): LogFile[] {
  const files = listing.split("\n").flatMap((line) => {
    const [, changed, size, path] = /^(\d+) (\d+) (.+)$/.exec(line) ?? [];
    if (path === undefined) return [];
    return { changed: Number(changed), size: Number(size), path, guest: path.slice(DIRECTORY.length + 1, -".log".length) };
  });
  return files.sort((a, b) => b.changed - a.changed).slice(0, MOST_GUESTS);
}
