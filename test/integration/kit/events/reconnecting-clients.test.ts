import { expect, it } from "vitest";
import { openReplica, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { expectDelivered, expectedChanges, readTruth, seqOf, truthAt } from "../../../support/event-truth.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { RecordingClient } from "../../../support/recording-client.ts";
import { seeds } from "../../../support/seeds.ts";
import { changeThings, createRows, endThings, isRedOrEnd, pickIds, type ThingJson } from "../../../support/things.ts";

const EVENTS = 10_000;
const THINGS = 60;
const everything = () => true;

for (const variant of VARIANTS) {
  describeWithPeers(`10,000 events over ${variant.name}`, variant.peers, () => {
    it.each(seeds(`reconnecting clients, ${variant.name}`))(
      "reach clients that reconnect at random without gap or repeat (seed %i)",
      async (seed) => {
        const random = seededRandom(seed);
        const database = await variant.database();
        const name = uniqueName();
        // Two replicas: one writes, clients connect to either.
        const replicas = [await openReplica(variant, database.url, name), await openReplica(variant, database.url, name)] as const;
        try {
          const [{ store, log }] = replicas;
          await createRows(store, THINGS);
          await changeThings(store, { ids: pickIds(random, THINGS, 200), random });
          const connectTo = () => replicas[random() < 0.5 ? 0 : 1].log;
          const start = await log.cursor("things");
          const clients = [
            new RecordingClient(start, { random, connectTo, cuts: 0.002 }),
            new RecordingClient(start, { random, connectTo, matches: isRedOrEnd, cuts: 0.01, pauses: 0.05 }),
            new RecordingClient(null, { random, connectTo, cuts: 0.005, pauses: 0.02 }),
            new RecordingClient(null, { random, connectTo, matches: isRedOrEnd, cuts: 0.01 }),
          ];
          const running = Promise.all(clients.map((client) => client.run()));
          for (let written = 0; written < EVENTS; ) {
            // Small transactions and large ones, half and half.
            const count = 1 + Math.floor(random() * (random() < 0.5 ? 5 : 400));
            await changeThings(store, { ids: pickIds(random, THINGS, count), random });
            written += count;
          }
          await endThings(store);
          await running;
          const truth = await readTruth(store);
          for (const [index, client] of clients.entries()) {
            const matches: (thing: ThingJson) => boolean = index % 2 === 1 ? isRedOrEnd : everything;
            const from = client.snapshotCursor ?? start;
            expectDelivered(client.changes, expectedChanges(truth, seqOf(store, from), matches));
            if (index >= 2) {
              const existing = [...truthAt(truth, seqOf(store, from)).values()].filter(matches);
              expect(client.snapshot).toEqual(existing.sort((a, b) => (a.id < b.id ? -1 : 1)));
            }
            expect(client.connections).toBeGreaterThan(1);
          }
        } finally {
          await Promise.all(replicas.map((replica) => replica.close()));
          await database.drop();
        }
      },
    );
  });
}
