import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { EventLog } from "../../../../subgraphs/kit/events/event-log.ts";
import type { Store } from "../../../../subgraphs/kit/store/orm.ts";
import { openReplica, type Replica, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { type Delivered, delivered } from "../../../support/event-truth.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { RecordingClient } from "../../../support/recording-client.ts";
import { seeds } from "../../../support/seeds.ts";
import { changeThings, createRows, END, endThings, pickIds, STREAM, Thing, type ThingJson } from "../../../support/things.ts";

const THINGS = 40;

/** What exists, as a client that received all of this knows it; throws where that cannot be right. */
function replay(snapshot: ThingJson[], changes: Delivered[]): Map<string, number> {
  const things = new Map(snapshot.map((thing) => [thing.id, thing.count]));
  const dead = new Map<string, number>();
  for (const change of changes) {
    const [type, id, count] = change.split(" ") as [string, string, string];
    const before = things.get(id) ?? dead.get(id);
    if (before !== undefined && Number(count) !== before + 1) throw new Error(`${change} follows ${before}`);
    if ((type === "ADDED") === things.has(id)) throw new Error(`${change} while it ${things.has(id) ? "exists" : "does not exist"}`);
    things.set(id, Number(count));
    if (type === "DELETED") {
      things.delete(id);
      dead.set(id, Number(count));
    }
  }
  return things;
}

async function alive(store: Store): Promise<Map<string, number>> {
  const things = await store.read((em) => em.find(Thing, { alive: true }));
  return new Map(things.map((thing) => [thing.id, thing.count]));
}

async function countRows(store: Store): Promise<number> {
  const [row] = await store.sql.query<{ rows: number | string }>("select count(*) as rows from event_log where stream = ?", [STREAM]);
  return Number(row?.rows);
}

async function withReplica(variant: (typeof VARIANTS)[number], use: (replica: Replica) => Promise<void>): Promise<void> {
  const database = await variant.database();
  const replica = await openReplica(variant, database.url, uniqueName());
  try {
    await createRows(replica.store, THINGS);
    await use(replica);
  } finally {
    await replica.close();
    await database.drop();
  }
}

for (const variant of VARIANTS) {
  describeWithPeers(`retention over ${variant.name}`, variant.peers, () => {
    let overtaken = 0;

    it.each(seeds(`retention overtakes a reader, ${variant.name}`))(
      "that overtakes a reader ends it with CURSOR_EXPIRED, and never leaves a gap (seed %i)",
      (seed) =>
        withReplica(variant, async ({ store, log, bus }) => {
          const random = seededRandom(seed);
          await changeThings(store, { ids: pickIds(random, THINGS, 100), random });
          // Far more eager than any real one: whoever lags a few events is overtaken.
          const compactor = new EventLog(store, bus, { retention: { maxEvents: 20, batch: 1 + Math.floor(random() * 30) } });
          let more = true;
          const compacting = (async () => {
            while (more) {
              await compactor.compact();
              await delay(1);
            }
          })();
          // A log of its own that nobody wakes: its clients lag behind and read from the table.
          const slow = new EventLog(
            store,
            { publish: () => undefined, subscribe: () => () => undefined, close: async () => undefined },
            { sweepIntervalMs: 15 },
          );
          slow.start();
          const clients = [
            new RecordingClient(null, { random, connectTo: () => log, cuts: 0.02 }),
            new RecordingClient(null, { random, connectTo: () => slow, cuts: 0.04, pauses: 0.3, awayMs: 40 }),
            new RecordingClient(await log.cursor("things"), { random, connectTo: () => slow, cuts: 0.04, pauses: 0.3, awayMs: 40 }),
          ];
          const running = Promise.all(clients.map((client) => client.run({ relist: true })));
          for (let transaction = 0; transaction < 35; transaction += 1) {
            await changeThings(store, { ids: pickIds(random, THINGS, 1 + Math.floor(random() * 30)), random });
            if (random() < 0.2) await delay(1);
          }
          await endThings(store);
          await running;
          more = false;
          await compacting;
          await slow.stop();
          const existing = await alive(store);
          overtaken += clients.reduce((sum, client) => sum + client.expirations, 0);
          for (const [index, client] of clients.entries()) {
            // The third began without a list: what it can know is checked by the replay alone, unless it had to list again.
            const known = index === 2 && client.expirations === 0 ? null : replay(client.snapshot, client.changes);
            if (known) expect(known).toEqual(existing);
            if (client.changes.length > 0) expect(client.changes.at(-1)).toBe(delivered("ADDED", END, 1));
          }
        }),
    );

    // Of a few seeds all may be some of those where everybody was quick enough.
    if (CAMPAIGN) {
      it("did overtake readers in these runs", () => {
        expect(overtaken).toBeGreaterThan(0);
      });
    }

    it("keeps the latest event of each object that exists, and no more than it should of the others", () =>
      withReplica(variant, async ({ store, log, bus }) => {
        const random = seededRandom(1);
        const old = await log.cursor("things");
        for (let round = 0; round < 10; round += 1) await changeThings(store, { ids: pickIds(random, THINGS, 50), random });
        const compactor = new EventLog(store, bus, { retention: { maxEvents: 30, batch: 17 } });
        expect(await compactor.compact()).toBe(470);
        expect(await compactor.compact()).toBe(0);
        const existing = await alive(store);
        const rows = await countRows(store);
        expect(rows).toBeGreaterThanOrEqual(existing.size);
        expect(rows).toBeLessThanOrEqual(THINGS + 30);
        const expired = log.watch("things", { after: old, signal: new AbortController().signal });
        await expect(expired.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "EventsCompacted" });
        expect(await expired.next()).toEqual({ done: true, value: undefined });
        const client = new RecordingClient(null, { random, connectTo: () => log });
        const running = client.run();
        await endThings(store);
        await running;
        expect(replay(client.snapshot, client.changes)).toEqual(await alive(store));
      }));

    it("goes by age as well, and leaves young events alone", () =>
      withReplica(variant, async ({ store, bus }) => {
        const random = seededRandom(2);
        await changeThings(store, { ids: pickIds(random, THINGS, 50), random });
        expect(await new EventLog(store, bus).compact()).toBe(0);
        await delay(5);
        expect(await new EventLog(store, bus, { retention: { maxAgeMs: 1 } }).compact()).toBe(50);
        expect(await countRows(store)).toBe((await alive(store)).size);
      }));

    it("is done by one replica at a time", () =>
      withReplica(variant, async ({ store, bus }) => {
        const random = seededRandom(3);
        for (let round = 0; round < 5; round += 1) await changeThings(store, { ids: pickIds(random, THINGS, 50), random });
        const retention = { maxEvents: 10, batch: 20 };
        const moved = await Promise.all([1, 2, 3].map(() => new EventLog(store, bus, { retention }).compact()));
        expect(moved.reduce((sum, each) => sum + each, 0)).toBe(240);
      }));
  });
}
