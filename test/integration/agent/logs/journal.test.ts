import { afterAll, beforeAll, expect, test } from "vitest";
import { LocalHost } from "../../../../agent/host/local.ts";
import { checkFilter } from "../../../../agent/logs/log-request.ts";
import { NodeLogs } from "../../../../agent/logs/node-logs.ts";
import type { LogEntry, LogFilter } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import { LogFilter as LogFilterMessage } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { RealJournal } from "../../../support/real-journal.ts";

const START = Date.parse("2026-01-01T00:00:00Z");
const LINES = 3000;
const UNITS = ["libvirtd.service", "ssh.service", "cron.service"];

const line = (number: number) => ({
  message: number === 1500 ? "A [very] special.line*" : `message ${number}`,
  at: START + number * 1000,
  priority: number % 8,
  unit: UNITS[number % 3] ?? "",
  transport: number % 10 === 0 ? ("kernel" as const) : ("journal" as const),
});
const signal = () => AbortSignal.timeout(30_000);
const filter = (fields: Partial<LogFilter> = {}) => checkFilter(LogFilterMessage.fromPartial(fields));
const numbers = (entries: readonly LogEntry[]) => entries.map(({ time }) => ((time?.getTime() ?? 0) - START) / 1000);

describeWithPeers("a real journal", "journal-remote", () => {
  let journal: RealJournal;
  let logs: NodeLogs;
  beforeAll(async () => {
    journal = await RealJournal.make(Array.from({ length: LINES }, (_, number) => line(number)));
    logs = new NodeLogs(new LocalHost(), journal.directory);
  });
  afterAll(() => journal?.[Symbol.asyncDispose]());
  const page = (limit: number, at: { after?: string; before?: string } = {}) => ({
    limit,
    after: at.after ?? null,
    before: at.before ?? null,
  });

  test("is paged backward from its end to its beginning, and forward again, without gap or repeat", async () => {
    const backward: number[] = [];
    let before: string | undefined;
    for (;;) {
      const { entries, hasOlder, hasNewer } = await logs.read(filter(), page(700, { before }), signal());
      backward.unshift(...numbers(entries));
      expect(hasNewer).toBe(before !== undefined);
      before = entries[0]?.cursor;
      if (!hasOlder) break;
    }
    expect(backward).toEqual(Array.from({ length: LINES }, (_, number) => number));

    const first = (await logs.read(filter({ until: new Date(START) }), page(1), signal())).entries[0];
    const forward = await logs.read(filter(), page(1000, { after: first?.cursor }), signal());
    expect(numbers(forward.entries)).toEqual(Array.from({ length: 1000 }, (_, index) => index + 1));
    expect(forward.hasNewer).toBe(true);
  });

  test("is filtered by unit, kernel, priority, time and text, each and together", async () => {
    const all = async (fields: Partial<LogFilter>) => (await logs.read(filter(fields), page(1000), signal())).entries;
    const libvirtd = await all({ service: "libvirtd", since: new Date(START + 100_000), until: new Date(START + 200_500) });
    expect(numbers(libvirtd)).toEqual(Array.from({ length: LINES }, (_, n) => n).filter((n) => n % 3 === 0 && n >= 100 && n <= 200));
    expect(libvirtd[0]).toMatchObject({ unit: "libvirtd.service", identifier: "tester", message: "message 102", truncated: false });
    const kernel = await all({ service: "kernel", priority: 3 });
    expect(numbers(kernel)).toEqual(Array.from({ length: LINES }, (_, n) => n).filter((n) => n % 10 === 0 && n % 8 <= 3));
    expect(kernel.every(({ priority }) => (priority ?? 9) <= 3)).toBe(true);
    expect(numbers(await all({ text: "[VERY] special.line*" }))).toEqual([1500]);
    expect(await all({ text: "[a-z] special" })).toEqual([]);
    expect(await all({ service: "no-such-unit" })).toEqual([]);
  });

  test("a page behind or before an entry keeps to the filter's time", async () => {
    const within = { since: new Date(START + 1_000_000), until: new Date(START + 1_010_500) };
    const last = await logs.read(filter(within), page(4), signal());
    expect(numbers(last.entries)).toEqual([1007, 1008, 1009, 1010]);
    const earlier = await logs.read(filter(within), page(100, { before: last.entries[0]?.cursor }), signal());
    expect(numbers(earlier.entries)).toEqual([1000, 1001, 1002, 1003, 1004, 1005, 1006]);
    expect(earlier.hasOlder).toBe(false);
    const later = await logs.read(filter(within), page(100, { after: earlier.entries.at(-1)?.cursor }), signal());
    expect(numbers(later.entries)).toEqual([1007, 1008, 1009, 1010]);
    expect(later.hasNewer).toBe(false);
  });

  test("refuses what is no cursor, and says where there is no journal", async () => {
    await expect(logs.read(filter(), page(1, { after: "nothing" }), signal())).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await using empty = await RealJournal.make();
    const without = new NodeLogs(new LocalHost(), empty.directory);
    await expect(without.read(filter(), page(1), signal())).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "NoJournal" });
    await expect(without.follow(filter(), null, signal()).next()).rejects.toMatchObject({ reason: "NoJournal" });
  });

  test("long messages, several lines and other bytes come as they are, at most 16 KiB", async () => {
    await using other = await RealJournal.make([
      { message: "two\nlines", at: START },
      { message: "x".repeat(10_000), at: START + 1 },
      { message: "ü".repeat(20_000), at: START + 2 },
    ]);
    const { entries } = await new NodeLogs(new LocalHost(), other.directory).read(filter(), page(10), signal());
    expect(entries.map(({ message, truncated }) => ({ length: message.length, truncated }))).toEqual([
      { length: 9, truncated: false },
      { length: 10_000, truncated: false },
      { length: 8192, truncated: true },
    ]);
    expect(entries[0]?.message).toBe("two\nlines");
  });

  test("is followed from an entry on, and what is written then comes", async () => {
    await using live = await RealJournal.make([line(0), line(1), line(2)]);
    const following = new NodeLogs(new LocalHost(), live.directory);
    const { entries } = await following.read(filter(), page(2), signal());
    const stop = new AbortController();
    const seen: number[] = [];
    const done = (async () => {
      for await (const entry of following.follow(filter(), entries[0]?.cursor ?? "", stop.signal)) {
        seen.push(...numbers([entry]));
        if (seen.length === 3) stop.abort();
      }
    })();
    await expect.poll(() => seen, { timeout: 20_000 }).toEqual([2]);
    await live.write([line(3), line(4)]);
    await done;
    expect(seen).toEqual([2, 3, 4]);
  });
});
