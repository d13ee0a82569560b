import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { LogEntry, ReadLogsResponse } from "../../schema/generated/proto/hypervisor/v1/logs.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import { type FollowedCommand, type HostChannel, type HostCommand, HostReadError } from "../host/host-channel.ts";
import { entryCommand, followCommand, type JournalPlace, pageCommand, sizeCommand } from "./journal-arguments.ts";
import { type JournalEntry, parseJournalLine } from "./journal-entry.ts";
import type { CheckedFilter, LogPage } from "./log-request.ts";

/** A page of a journal that matches nothing reads all of it. */
const READ_MS = 20_000;
/** Long messages are fetched one by one; of more of them in one page only that they are there. */
const MOST_LONG_MESSAGES = 50;
const LONG_MESSAGE_BYTES = 8 * 1024 * 1024;

/** The journal of one host, by its journalctl: filtered there, read as far as is wanted. */
export class Journal {
  readonly #host: HostChannel;
  readonly #directory: string | null;

  /** `directory`: of journal files, instead of the host's own journal. */
  constructor(host: HostChannel, directory: string | null) {
    this.#host = host;
    this.#directory = directory;
  }

  /** Throws FAILED_PRECONDITION (NoJournal, NoShell, NoPermission), INVALID_ARGUMENT for a cursor that is none, DEADLINE_EXCEEDED. */
  async read(filter: CheckedFilter, { limit, after, before }: LogPage, signal: AbortSignal): Promise<ReadLogsResponse> {
    const place: JournalPlace = after === null ? { backward: true, from: before } : { backward: false, from: after };
    // One more than is wanted tells whether there is more.
    const found = await this.#take(filter, place, limit + 1, signal);
    const hasMore = found.length > limit;
    const entries = found.slice(0, limit);
    if (entries.length === 0 && place.from === null) await this.#requireJournal(signal);
    if (!place.backward) return { entries, hasOlder: true, hasNewer: hasMore };
    return { entries: entries.reverse(), hasOlder: hasMore, hasNewer: before !== null };
  }

  /** Entries one by one, as they come; the reader's pace is journalctl's. Ends with the signal. */
  async *follow(filter: CheckedFilter, after: string | null, signal: AbortSignal): AsyncGenerator<LogEntry> {
    await this.#requireJournal(signal);
    const command = followCommand(filter, after, this.#directory);
    const running = await this.#start(command, signal);
    try {
      for await (const line of running.lines) {
        const read = parseJournalLine(line);
        if (read === null) continue;
        if (filter.until !== null && read.entry.time !== undefined && read.entry.time > filter.until) return;
        yield read.isMessageLeftOut ? await this.#whole(read.entry, signal) : read.entry;
      }
      if (!signal.aborted) throw await failure(running);
    } finally {
      await running.close();
    }
  }

  async #take(filter: CheckedFilter, place: JournalPlace, most: number, signal: AbortSignal): Promise<LogEntry[]> {
    const deadline = AbortSignal.timeout(READ_MS);
    const running = await this.#start(pageCommand(filter, place, this.#directory), AbortSignal.any([signal, deadline]));
    const taken: JournalEntry[] = [];
    try {
      for await (const line of running.lines) {
        const read = parseJournalLine(line);
        if (read === null) continue;
        if (isOutside(filter, read.entry, place)) break;
        taken.push(read);
        if (taken.length >= most) break;
      }
      signal.throwIfAborted();
      if (deadline.aborted && taken.length < most) {
        throw new FleetError(
          "DEADLINE_EXCEEDED",
          `The journal was not read within ${READ_MS / 1000} s: ask for less of it, by time or by service.`,
        );
      }
      if (taken.length === 0) await this.#checkEnd(running);
    } finally {
      await running.close();
    }
    let long = 0;
    const whole = taken.map(async ({ entry, isMessageLeftOut }) => {
      if (!isMessageLeftOut) return entry;
      long += 1;
      return long > MOST_LONG_MESSAGES ? { ...entry, truncated: true } : await this.#whole(entry, signal);
    });
    return Promise.all(whole);
  }

  async #checkEnd(running: FollowedCommand): Promise<void> {
    const { exitCode, stderr } = await running.ended;
    // As grep does: 1 where nothing matches.
    const foundNothing = exitCode === 1 && stderr.trim() === "";
    if (exitCode !== 0 && exitCode !== null && !foundNothing) throw await failure(running);
  }

  /** The entry with its message, which is longer than journalctl gives unasked. */
  async #whole(entry: LogEntry, signal: AbortSignal): Promise<LogEntry> {
    try {
      const { stdout } = await this.#host.exec(entryCommand(entry.cursor, this.#directory), { signal, maxBytes: LONG_MESSAGE_BYTES });
      const read = parseJournalLine(stdout.trim());
      if (read?.entry.cursor === entry.cursor) return read.entry;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof HostReadError)) throw error;
    }
    return { ...entry, truncated: true };
  }

  /** A host without a journal is told from one that has nothing to tell by the space that its journal takes. */
  async #requireJournal(signal: AbortSignal): Promise<void> {
    const { stdout, stderr } = await this.#exec(sizeCommand(this.#directory), signal);
    if (!/take up 0B /.test(stdout)) return;
    const why = /permission/i.test(stderr) ? "NoPermission" : "NoJournal";
    throw precondition(why, "This host keeps no journal: systemd-journald does not run there, or keeps nothing.");
  }

  async #exec(command: HostCommand, signal: AbortSignal) {
    try {
      return await this.#host.exec(command, { signal });
    } catch (error) {
      throw unreadable(error);
    }
  }

  async #start(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    try {
      return await this.#host.follow(command, signal);
    } catch (error) {
      throw unreadable(error);
    }
  }
}

/** The times that journalctl was not told, because it takes a cursor alone. */
function isOutside({ since, until }: CheckedFilter, { time }: LogEntry, { backward }: JournalPlace): boolean {
  if (time === undefined) return false;
  return backward ? since !== null && time < since : until !== null && time > until;
}

async function failure(running: FollowedCommand): Promise<FleetError> {
  const { exitCode, stderr } = await running.ended;
  const said = stderr.trim().split("\n").at(-1) ?? "";
  if (/seek to cursor/i.test(said)) return invalidArgument("after", "It is no cursor of this host's journal.");
  if (/^sudo: /.test(said)) return precondition("NoPermission", `The account on this host may not read its journal: ${said}`);
  if (/without pattern matching/i.test(said)) return precondition("NotSupported", "This host's journalctl cannot look for a text.");
  return new FleetError("UNAVAILABLE", `journalctl ended (${exitCode ?? "killed"}): ${said || "it did not say why"}`, {
    reason: "LogsEnded",
  });
}

/** Why a host's logs cannot be read, as the control plane shows it. */
export function unreadable(error: unknown): unknown {
  if (!(error instanceof HostReadError)) return error;
  const { reason, message } = error;
  if (reason === "NOT_INSTALLED") return precondition("NoJournal", "This host has no journalctl, and so no journal.");
  if (reason === "NO_SHELL") return precondition("NoShell", "This host is reached over libvirt alone: its logs cannot be read.");
  if (reason === "NO_PERMISSION") return precondition("NoPermission", message);
  if (reason === "TIMEOUT") return new FleetError("DEADLINE_EXCEEDED", message);
  return new FleetError("UNAVAILABLE", message, { reason: reason === "HOST_UNREACHABLE" ? "HostUnreachable" : "LogsUnreadable" });
}
