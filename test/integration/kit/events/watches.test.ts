import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { encodeCursor } from "../../../../subgraphs/kit/events/cursor.ts";
import type { LogEvent } from "../../../../subgraphs/kit/events/event.ts";
import { openReplica, type Replica, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { seqOf } from "../../../support/event-truth.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { changeThings, createRows, type ThingJson, thingId } from "../../../support/things.ts";

const red = { random: () => 0, deletions: 0 };
const green = { random: () => 0.5, deletions: 0 };

for (const variant of VARIANTS) {
  describeWithPeers(`a watch over ${variant.name}`, variant.peers, () => {
    let database: TestDatabase;
    let replica: Replica;
    let stop: AbortController;

    beforeAll(async () => {
      database = await variant.database();
      replica = await openReplica(variant, database.url, uniqueName());
      await createRows(replica.store, 20);
    });
    beforeEach(() => {
      stop = new AbortController();
      return () => stop.abort();
    });
    afterAll(async () => {
      await replica?.close();
      await database?.drop();
    });

    const watch = (
      options: { after?: string; matches?: (thing: ThingJson) => boolean; bookmarks?: boolean; bookmarkIntervalMs?: number } = {},
    ) => replica.log.watch<ThingJson>("things", { ...options, signal: stop.signal });
    /** A watch that knows where "now" is: what is written from here on comes. */
    const fromNow = async (options: { matches?: (thing: ThingJson) => boolean } = {}) => {
      const events = watch({ ...options, bookmarks: true });
      await take(events, 1);
      return events;
    };
    const change = (index: number, draws = green) => changeThings(replica.store, { ids: [thingId(index)], ...draws });
    const take = async (events: AsyncIterator<LogEvent<ThingJson>>, count: number) => {
      const taken: Array<LogEvent<ThingJson>> = [];
      while (taken.length < count) taken.push((await events.next()).value);
      return taken;
    };
    const expectRefused = (after: string, error: Record<string, unknown>) => expect(watch({ after }).next()).rejects.toMatchObject(error);

    it("without a cursor begins where the log is", async () => {
      await change(0);
      const events = await fromNow();
      const first = events.next();
      await change(1);
      expect((await first).value.objectId).toBe(thingId(1));
    });

    it("ends at once by return() and by its signal, also while next() waits", async () => {
      for (const end of [(events: AsyncIterator<unknown>) => void events.return?.(), () => stop.abort()]) {
        const events = watch();
        const waiting = [events.next(), events.next()];
        await delay(20);
        end(events);
        expect(await Promise.all(waiting)).toEqual([
          { done: true, value: undefined },
          { done: true, value: undefined },
        ]);
        expect(await events.next()).toEqual({ done: true, value: undefined });
        stop = new AbortController();
      }
      const aborted = new AbortController();
      aborted.abort();
      expect(await replica.log.watch("things", { signal: aborted.signal }).next()).toEqual({ done: true, value: undefined });
    });

    it("sends what enters its filter as ADDED and what leaves it as DELETED", async () => {
      const events = await fromNow({ matches: (thing) => thing.color === "red" && thing.id === thingId(2) });
      for (const draws of [green, red, red, green, green, red]) await change(2, draws);
      await change(3, red);
      await changeThings(replica.store, { ids: [thingId(2)], random: () => 0, deletions: 1 });
      const got = await take(events, 5);
      expect(got.map((event) => [event.type, event.object?.color])).toEqual([
        ["ADDED", "red"],
        ["MODIFIED", "red"],
        ["DELETED", "green"],
        ["ADDED", "red"],
        ["DELETED", "red"],
      ]);
    });

    it("that is quiet gets a BOOKMARK when it asks for them, which moves past what its filter hides", async () => {
      const quiet = await fromNow();
      const events = watch({ bookmarks: true, bookmarkIntervalMs: 30, matches: () => false });
      const [first] = await take(events, 1);
      expect(first).toMatchObject({ type: "BOOKMARK", objectId: null, object: null });
      await change(4);
      let last = first;
      while (seqOf(replica.store, last?.cursor ?? "") === seqOf(replica.store, first?.cursor ?? "")) [last] = await take(events, 1);
      const [seen] = await take(quiet, 1);
      expect(last?.cursor).toBe(seen?.cursor);
    });

    it("that starts from now learns at once where that is, when it asks for bookmarks", async () => {
      await change(4);
      const { cursor } = (await take(watch({ bookmarks: true }), 1))[0] as { cursor: string };
      expect(seqOf(replica.store, cursor)).toBe(seqOf(replica.store, await replica.log.cursor("things")));
      await change(4);
      expect((await take(watch({ after: cursor, bookmarks: true }), 1))[0]).toMatchObject({ type: "MODIFIED", objectId: thingId(4) });
    });

    it("gets the object as it was, frozen, with all events of one transaction in the order of the calls", async () => {
      const events = await fromNow();
      await changeThings(replica.store, { ids: [thingId(5), thingId(6), thingId(5)], ...green });
      const [one, two, three] = await take(events, 3);
      expect([one, two, three].map((event) => event?.objectId)).toEqual([thingId(5), thingId(6), thingId(5)]);
      expect(three?.object?.count).toBe((one?.object?.count ?? 0) + 1);
      expect(Object.isFrozen(one?.object)).toBe(true);
    });

    it("takes large objects, which the bus does not carry, from the table", async () => {
      const events = await fromNow();
      await changeThings(replica.store, { ids: [thingId(7), thingId(8)], ...green, padding: "x".repeat(1_500_000) });
      const got = await take(events, 2);
      expect(got.map((event) => event.object?.padding?.length)).toEqual([1_500_000, 1_500_000]);
    });

    it("refuses what is not a cursor, or one of another watch, and names the field", async () => {
      const { epoch } = JSON.parse(JSON.stringify({ epoch: "0123456789abcdef" })) as { epoch: string };
      const position = { epoch, seq: 1, snapshotAfter: null };
      const invalid = { code: "INVALID_ARGUMENT", details: { field: "after" } };
      for (const broken of ["", "%%%", "bm9wZQ", Buffer.from("[1]").toString("base64url"), "x".repeat(10_000)])
        await expectRefused(broken, invalid);
      await expectRefused(encodeCursor(replica.store.name, "others", position), invalid);
      await expectRefused(encodeCursor("others", "things", position), invalid);
      await expectRefused(encodeCursor(replica.store.name, "things", { ...position, seq: -1 }), invalid);
      await expectRefused(encodeCursor(replica.store.name, "things", position), { code: "CURSOR_EXPIRED", reason: "EpochChanged" });
    });

    it("refuses a cursor from the future of the log", async () => {
      const now = JSON.parse(Buffer.from(await replica.log.cursor("things"), "base64url").toString()) as [
        number,
        string,
        string,
        string,
        number,
      ];
      const future = encodeCursor(replica.store.name, "things", { epoch: now[3], seq: now[4] + 1, snapshotAfter: null });
      await expectRefused(future, { code: "CURSOR_EXPIRED", reason: "CursorFromFuture" });
    });

    it("ends with CURSOR_EXPIRED when the epoch changes under it, and a new one begins in the new epoch", async () => {
      const old = await fromNow();
      await change(9);
      const [event] = await take(old, 1);
      const pending = old.next();
      // It may end before it is waited for.
      pending.catch(() => undefined);
      await replica.store.transaction(({ em }) => em.execute("update event_state set epoch = ?", [`restored${Math.random()}`]));
      await expect(pending).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "EpochChanged" });
      await expectRefused(event?.cursor ?? "", { code: "CURSOR_EXPIRED" });
      const renewed = await fromNow();
      const next = renewed.next();
      await change(9);
      expect((await next).value.objectId).toBe(thingId(9));
    });

    it("holds nothing of an event whose transaction failed", async () => {
      const events = await fromNow();
      const failing = replica.store.transaction(async ({ emit }) => {
        emit("things", { type: "ADDED", objectId: "never", object: { id: "never" }, previous: null });
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
      await change(10);
      expect((await take(events, 1))[0]?.objectId).toBe(thingId(10));
    });

    it("serves a thousand watchers from one tail", async () => {
      const watchers = await Promise.all(Array.from({ length: 1_000 }, () => fromNow()));
      const firsts = watchers.map((events) => events.next());
      await change(11);
      const got = await Promise.all(firsts);
      expect(new Set(got.map((result) => result.value.objectId))).toEqual(new Set([thingId(11)]));
      // One parsed object for all of them.
      expect(new Set(got.map((result) => result.value.object)).size).toBe(1);
    });

    it("ends with DRAINING when the log stops", async () => {
      const other = await openReplica(variant, database.url, replica.store.name);
      const events = other.log.watch("things", { signal: stop.signal });
      const pending = events.next();
      const idle = other.log.watch("things", { signal: stop.signal });
      await delay(20);
      const closing = other.close();
      await expect(pending).rejects.toMatchObject({ code: "DRAINING" });
      await expect(idle.next()).rejects.toMatchObject({ code: "DRAINING" });
      await closing;
    });
  });
}
