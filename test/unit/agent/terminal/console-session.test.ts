import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { CarriedTerminal } from "../../../../agent/terminal/carried-terminal.ts";
import { ConsoleSession } from "../../../../agent/terminal/console-session.ts";
import { CONSOLE_LIMITS, type ConsoleLimits } from "../../../../agent/terminal/limits.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { ConsoleEnd } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { FakeTerminal } from "../../../support/fake-terminal.ts";
import { FrameViewer } from "../../../support/frame-viewer.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
const soon = () => AbortSignal.timeout(30_000);
const size = { columns: 80, rows: 24 };
const closed = { end: ConsoleEnd.CLOSED, message: "closed" };
const open: ConsoleSession[] = [];

afterEach(async () => {
  for (const session of open.splice(0)) await session.end(closed);
});

function started(limits: Partial<ConsoleLimits> = {}, terminal = new FakeTerminal()) {
  const session = new ConsoleSession({
    id: "con-tty-node-1-00000000000000000000000000000000",
    ...{ nodeId: "node-1", instanceId: "inst-1", size, openedBy: "ann", log },
    terminal: new CarriedTerminal({ terminal, size, reopen: null, awayMs: 1000, log }),
    limits: { ...CONSOLE_LIMITS, ...limits },
    onEnded: () => undefined,
  });
  open.push(session);
  const watch = (offset = -1) => new FrameViewer(session.follow(offset, soon()));
  const type = (writerKey: string, data: string, sequence = 0, takeOver = false) =>
    session.type({ writerKey, subject: `${writerKey}-subject`, data: Buffer.from(data), sequence, takeOver }, soon());
  return { session, terminal, watch, type };
}

test("a viewer gets what was put out before it came, then what is put out, each byte at its offset", async () => {
  const { terminal, watch } = started();
  terminal.put("before ");
  await until(() => terminal.taken === 7);
  const viewer = watch();
  const first = await viewer.next();
  expect(first).toMatchObject({ offset: 0, skipped: false, session: { nextOffset: 7, viewers: 1, ended: ConsoleEnd.UNSPECIFIED } });
  expect(await viewer.next()).toMatchObject({ offset: 0, session: undefined });
  terminal.put("after");
  await viewer.seen("before after");
  expect(viewer.frames.at(-1)).toMatchObject({ offset: 7 });
  const later = watch(9);
  expect(await later.seen("ter")).toBe("ter");
  expect(later.frames[0]).toMatchObject({ offset: 9, skipped: false });
});

test("many small writes are put into few frames, and none is larger than its limit", async () => {
  const { terminal, watch } = started({ frameBytes: 1000, batchMs: 20 });
  const viewer = watch();
  await viewer.next();
  for (let index = 0; index < 500; index++) terminal.put("x".repeat(10));
  await viewer.seen("x".repeat(5000));
  expect(viewer.frames.length).toBeLessThan(12);
  expect(Math.max(...viewer.frames.map(({ data }) => data.length))).toBe(1000);
});

test("a viewer that reads gets everything of a burst, though it is slower than the terminal", async () => {
  const { terminal, watch } = started({ scrollbackBytes: 10_000, frameBytes: 1000 });
  const viewer = watch();
  const all = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
  for (let at = 0; at < all.length; at += 700) terminal.put(all.subarray(at, at + 700));
  await viewer.next();
  for (let frames = 0; viewer.length < all.length; frames++) {
    // The terminal is held back as long as this viewer is late.
    expect(terminal.taken).toBeLessThanOrEqual(viewer.length + 11_000);
    if (frames % 10 === 0) await delay(2);
    expect(await viewer.next()).toMatchObject({ skipped: false });
  }
  expect(viewer.bytes.equals(all)).toBe(true);
});

test("a viewer that stops reading delays nobody for long; it is told what it lost when it reads on", async () => {
  const { terminal, watch } = started({ scrollbackBytes: 10_000, frameBytes: 1000, stallMs: 50 });
  const stuck = watch();
  await stuck.next();
  terminal.put("first");
  await stuck.next();
  const lively = watch().read();
  for (let count = 0; count < 100; count++) terminal.put(Buffer.alloc(1000, count));
  await until(() => lively.length === 100_005, "all at the lively one", 30_000);
  const lost = await stuck.next();
  expect(lost).toMatchObject({ skipped: true, offset: 95_005 });
  expect((await stuck.next())?.skipped).toBe(false);
});

test("a viewer that reads a little now and then holds the terminal back for a bounded time in all", async () => {
  const { terminal, watch } = started({ scrollbackBytes: 10_000, frameBytes: 100, stallMs: 1000, patienceMs: 100 });
  const slow = watch();
  await slow.next();
  for (let count = 0; count < 50; count++) terminal.put(Buffer.alloc(1000, count));
  while (terminal.taken < 50_000) {
    await slow.next();
    await delay(10);
  }
  expect(slow.length).toBeLessThan(40_000);
});

test("a guest is never held back", async () => {
  const { terminal, watch } = started({ scrollbackBytes: 1000 }, new FakeTerminal({ mayWait: false }));
  const stuck = watch();
  await stuck.next();
  for (let count = 0; count < 100; count++) terminal.put(Buffer.alloc(1000));
  await until(() => terminal.taken === 100_000);
  expect(await stuck.next()).toMatchObject({ skipped: true, offset: 99_500 });
});

test("who joins without a key only reads, also where nobody types", async () => {
  const { session, type } = started();
  const reader = { writerKey: "", subject: "cid", takeOver: true, size: { columns: 1, rows: 1 } };
  expect(await session.join(reader)).toMatchObject({ writer: "", writable: false, size: { width: 80, height: 24 } });
  await type("a", "1");
  expect(await session.join(reader)).toMatchObject({ writer: "a-subject", writable: false });
});

test("one types until another takes over, and all are told", async () => {
  const { session, terminal, watch, type } = started();
  const viewer = watch();
  expect(await session.join({ writerKey: "a", subject: "ann", takeOver: false, size: null })).toMatchObject({
    writer: "ann",
    writable: true,
  });
  expect(await session.join({ writerKey: "b", subject: "bob", takeOver: false, size: { columns: 1, rows: 1 } })).toMatchObject({
    writer: "ann",
    writable: false,
    size: { width: 80, height: 24 },
  });
  await type("a", "1");
  await expect(type("b", "2")).rejects.toMatchObject({ reason: "NotTheWriter", details: { writer: "a-subject" } });
  await expect(session.resize("b", { columns: 10, rows: 10 })).rejects.toMatchObject({ reason: "NotTheWriter" });
  await type("b", "3", 0, true);
  await expect(type("a", "4")).rejects.toMatchObject({ reason: "NotTheWriter", details: { writer: "b-subject" } });
  await viewer.told(({ writer }) => writer === "b-subject", "the take-over");
  await session.resize("b", { columns: 100, rows: 40 });
  await viewer.told(({ size: now }) => now?.width === 100 && now.height === 40, "the size");
  expect(terminal.typed).toEqual(["1", "3"]);
  expect(terminal.sizes).toEqual([{ columns: 100, rows: 40 }]);
});

test("input is typed once, in order, by its number; another writer has numbers of its own", async () => {
  const { terminal, type } = started();
  expect(await type("a", "1", 1)).toEqual({ nextSequence: 2, repeatedInput: false });
  expect(await type("a", "1", 1)).toEqual({ nextSequence: 2, repeatedInput: true });
  await expect(type("a", "3", 3)).rejects.toMatchObject({ reason: "InputGap", details: { expected: 2 } });
  expect(await Promise.all([type("a", "2", 2), type("a", "3", 3), type("a", "2", 2)])).toMatchObject([
    { nextSequence: 3 },
    { nextSequence: 4 },
    { repeatedInput: true },
  ]);
  expect(await type("b", "b", 1, true)).toEqual({ nextSequence: 2, repeatedInput: false });
  expect(await type("a", "3", 3, true)).toEqual({ nextSequence: 4, repeatedInput: true });
  expect(terminal.typed).toEqual(["1", "2", "3", "b"]);
});

test("input that the terminal does not take waits, up to a limit, and a repeat of it types nothing twice", async () => {
  const { terminal, type } = started({ inputBytes: 10, inputMs: 50 });
  const gate = Promise.withResolvers<void>();
  terminal.gate = gate.promise;
  const first = type("a", "1234567", 1);
  const second = type("a", "89", 2);
  await expect(type("a", "too much", 3)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "InputQueueFull" });
  await expect(first).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED", reason: "InputNotTaken" });
  await expect(second).rejects.toMatchObject({ reason: "InputNotTaken" });
  gate.resolve();
  await until(() => terminal.typed.length === 1);
  // The first was being typed, the second not yet.
  expect(await type("a", "1234567", 1)).toEqual({ nextSequence: 2, repeatedInput: true });
  expect(await type("a", "89", 2)).toEqual({ nextSequence: 3, repeatedInput: false });
  expect(terminal.typed).toEqual(["1234567", "89"]);
});

test("input that went away with the console is not said to be typed, and a repeat of it types nothing", async () => {
  const { terminal, type } = started();
  terminal.gate = Promise.reject(new Error("cut off"));
  await expect(type("a", "1", 1)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "InputUncertain" });
  terminal.gate = null;
  expect(await type("a", "1", 1)).toEqual({ nextSequence: 2, repeatedInput: true });
  expect(terminal.typed).toEqual([]);
});

test("where nobody reads what is typed, that is said", async () => {
  const { type, session } = started({}, new FakeTerminal({ takesInput: false }));
  expect(session.view()).toMatchObject({ takesInput: false });
  await expect(type("a", "1")).rejects.toMatchObject({ reason: "NoInput" });
});

test("all output comes before the end, and who comes late learns why", async () => {
  const { session, terminal, watch, type } = started();
  const viewer = watch();
  terminal.put("last words");
  terminal.end();
  expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED }, message: "What ran in the console has ended." });
  expect(viewer.text).toBe("last words");
  expect(await viewer.next()).toBeNull();
  const late = watch();
  expect(await late.over()).toMatchObject({ session: { ended: ConsoleEnd.STOPPED } });
  expect(late.text).toBe("last words");
  await expect(type("a", "1")).rejects.toMatchObject({ reason: "ConsoleEnded", details: { ended: "STOPPED" } });
  await expect(session.resize("a", size)).rejects.toMatchObject({ reason: "ConsoleEnded" });
});

test("it is closed for all, also while the terminal is held back", async () => {
  const { session, terminal, watch } = started({ scrollbackBytes: 1000 });
  const viewer = watch();
  await viewer.next();
  for (let count = 0; count < 5; count++) terminal.put(Buffer.alloc(1000));
  await until(() => terminal.taken >= 1000);
  await session.end(closed);
  expect(terminal.disposed).toBe(true);
  expect(await viewer.over()).toMatchObject({ session: { ended: ConsoleEnd.CLOSED }, message: "closed" });
});

test("one that nobody watches ends; one that is watched does not", async () => {
  const watched = started({ idleMs: 50 });
  const viewer = watched.watch();
  await viewer.next();
  const alone = started({ idleMs: 50 });
  await until(() => alone.session.ending !== null, "the idle end");
  expect(alone.session.ending).toMatchObject({ end: ConsoleEnd.IDLE });
  await until(() => alone.terminal.disposed, "the terminal's end");
  await delay(100);
  expect(watched.session.ending).toBeNull();
  await viewer.leave();
  await until(() => watched.session.ending !== null, "the idle end");
});

test("a viewer leaves with its call, and makes place for another", async () => {
  const { session } = started({ viewers: 1, idleMs: 50 });
  const call = new AbortController();
  const viewer = new FrameViewer(session.follow(-1, call.signal));
  await viewer.next();
  await expect(session.follow(-1, soon()).next()).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "TooManyViewers" });
  const waiting = viewer.next();
  call.abort();
  expect(await waiting).toBeNull();
  expect(session.view().viewers).toBe(0);
  await until(() => session.ending !== null, "the idle end");
});
