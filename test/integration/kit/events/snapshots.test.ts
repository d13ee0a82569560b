import { afterAll, beforeAll, expect, it } from "vitest";
import type { LogEvent } from "../../../../subgraphs/kit/events/event.ts";
import { openReplica, type Replica, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { expectDelivered, expectedChanges, readTruth, seqOf, truthAt } from "../../../support/event-truth.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { RecordingClient } from "../../../support/recording-client.ts";
import { seeds } from "../../../support/seeds.ts";
import { changeThings, createRows, endThings, isRedOrEnd, pickIds, type ThingJson, thingId } from "../../../support/things.ts";

/** Several pages of a snapshot. */
const THINGS = 700;
const everything = () => true;
const byId = (a: ThingJson, b: ThingJson) => (a.id < b.id ? -1 : 1);

for (const variant of VARIANTS) {
  describeWithPeers(`snapshots over ${variant.name}`, variant.peers, () => {
    let database: TestDatabase;
    let replica: Replica;

    beforeAll(async () => {
      database = await variant.database();
      replica = await openReplica(variant, database.url, uniqueName());
      await createRows(replica.store, THINGS);
      const ids = Array.from({ length: THINGS }, (_, index) => thingId(index));
      await changeThings(replica.store, { ids, random: () => 0.5 });
    });
    afterAll(async () => {
      await replica?.close();
      await database?.drop();
    });

    it.each(seeds(`snapshot cut in the middle, ${variant.name}`))(
      "that are cut in the middle, while others write, go on where they were (seed %i)",
      async (seed) => {
        const random = seededRandom(seed);
        const { store, log } = replica;
        let more = true;
        const writing = (async () => {
          while (more) await changeThings(store, { ids: pickIds(random, THINGS, 1 + Math.floor(random() * 20)), random });
        })();
        const connectTo = () => log;
        const clients = [
          new RecordingClient(null, { random, connectTo, cuts: 0.01 }),
          new RecordingClient(null, { random, connectTo, matches: isRedOrEnd, cuts: 0.02, pauses: 0.1 }),
        ];
        const running = Promise.all(clients.map((client) => client.run()));
        while (clients.some((client) => client.snapshotCursor === null)) await new Promise(setImmediate);
        more = false;
        await writing;
        await endThings(store);
        await running;
        const truth = await readTruth(store);
        for (const [index, client] of clients.entries()) {
          const matches = index === 1 ? isRedOrEnd : everything;
          const at = seqOf(store, client.snapshotCursor ?? "");
          expect(client.snapshot).toEqual([...truthAt(truth, at).values()].filter(matches).sort(byId));
          expectDelivered(client.changes, expectedChanges(truth, at, matches));
        }
      },
    );

    it("are one frozen state, then a BOOKMARK, then changes", async () => {
      const { store, log } = replica;
      const signal = new AbortController();
      const watch = log.watch<ThingJson>("things", { snapshot: true, signal: signal.signal });
      const first = await watch.next();
      await changeThings(store, { ids: [thingId(THINGS - 1)], random: () => 0.5 });
      const events: Array<LogEvent<ThingJson>> = [first.value];
      while (events.at(-1)?.type !== "BOOKMARK") events.push((await watch.next()).value);
      const change = (await watch.next()).value as LogEvent<ThingJson>;
      const truth = await readTruth(store);
      const at = seqOf(store, events.at(-1)?.cursor ?? "");
      expect(events.slice(0, -1).map((event) => event.object)).toEqual([...truthAt(truth, at).values()].sort(byId));
      expect(new Set(events.slice(0, -1).map((event) => event.type))).toEqual(new Set(["ADDED"]));
      expect(seqOf(store, change.cursor)).toBe(at + 1);
      expect(change.objectId).toBe(thingId(THINGS - 1));
      signal.abort();
    });
  });
}
