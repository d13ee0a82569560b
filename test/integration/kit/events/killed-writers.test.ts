import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openReplica, type Replica, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { expectDelivered, expectedChanges, readTruth, seqOf, untilCommitted } from "../../../support/event-truth.ts";
import { EventWriter } from "../../../support/event-writer.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { RecordingClient } from "../../../support/recording-client.ts";
import { seeds } from "../../../support/seeds.ts";
import { createRows, endThings, isRedOrEnd } from "../../../support/things.ts";
import { until } from "../../../support/until.ts";

const THINGS = 20;
const everything = () => true;

for (const variant of VARIANTS) {
  describeWithPeers(`writers in other processes over ${variant.name}`, variant.peers, () => {
    const name = uniqueName();
    let database: TestDatabase;
    let reader: Replica;
    let spare: EventWriter;
    const newWriter = () => new EventWriter({ url: database.url, name, natsUrl: variant.natsUrl });

    beforeAll(async () => {
      database = await variant.database();
      reader = await openReplica(variant, database.url, name);
      await createRows(reader.store, THINGS);
      spare = newWriter();
    });
    afterAll(async () => {
      spare?.kill();
      await reader?.close();
      await database?.drop();
    });

    it.each(seeds(`SIGKILL between commit and publish, ${variant.name}`))(
      "what a writer committed before SIGKILL and never published reaches every client (seed %i)",
      async (seed) => {
        const random = seededRandom(seed);
        const writer = spare;
        // The next one starts up meanwhile.
        spare = newWriter();
        const start = await reader.log.cursor("things");
        const connectTo = () => reader.log;
        const clients = [
          new RecordingClient(start, { random, connectTo }),
          new RecordingClient(start, { random, connectTo, cuts: 0.05 }),
          new RecordingClient(start, { random, connectTo, matches: isRedOrEnd }),
        ];
        const running = Promise.all(clients.map((client) => client.run()));
        // Either exactly between commit and publish, or anywhere.
        const dieAtPublish = random() < 0.7 ? 1 + Math.floor(random() * 15) : null;
        const writing = writer.write({ seed, transactions: 1_000, things: THINGS, perTransaction: 8, dieAtPublish });
        writing.catch(() => undefined);
        if (dieAtPublish === null) {
          await until(() => (clients[0]?.changes.length ?? 0) > 0, "the first event");
          await delay(random() * 30);
          writer.kill();
        }
        expect(await writer.exited).toBe("SIGKILL");
        await expect(writing).rejects.toThrow("The writer ended");
        await untilCommitted(reader.store);
        // Nobody else writes: only the sweep can bring the last of them.
        const committed = expectedChanges(await readTruth(reader.store), seqOf(reader.store, start), everything);
        expect(committed.length).toBeGreaterThan(0);
        await until(() => clients[0]?.changes.length === committed.length, "what the writer committed");
        expect(clients[0]?.changes).toEqual(committed);
        await endThings(reader.store);
        await running;
        const truth = await readTruth(reader.store);
        for (const [index, client] of clients.entries()) {
          expectDelivered(client.changes, expectedChanges(truth, seqOf(reader.store, start), index === 2 ? isRedOrEnd : everything));
        }
      },
    );
  });

  describeWithPeers(`two replicas over ${variant.name}`, variant.peers, () => {
    const name = uniqueName();
    let database: TestDatabase;
    let reader: Replica;
    let writers: EventWriter[] = [];

    beforeAll(async () => {
      database = await variant.database();
      reader = await openReplica(variant, database.url, name);
      await createRows(reader.store, 5);
      writers = [0, 1].map(() => new EventWriter({ url: database.url, name, natsUrl: variant.natsUrl }));
    });
    afterAll(async () => {
      for (const writer of writers) writer.kill();
      await reader?.close();
      await database?.drop();
    });

    it.each(seeds(`two replicas writing the same objects, ${variant.name}`))(
      "that write the same objects lose no change, and every client sees one order (seed %i)",
      async (seed) => {
        const random = seededRandom(seed);
        const start = await reader.log.cursor("things");
        const connectTo = () => reader.log;
        const clients = [
          new RecordingClient(start, { random, connectTo }),
          new RecordingClient(start, { random, connectTo, cuts: 0.03, pauses: 0.1 }),
          new RecordingClient(start, { random, connectTo, matches: isRedOrEnd, cuts: 0.03 }),
        ];
        const running = Promise.all(clients.map((client) => client.run()));
        const order = { transactions: 40, things: 5, perTransaction: 4, dieAtPublish: null };
        await Promise.all(writers.map((writer, index) => writer.write({ ...order, seed: seed * 2 + index })));
        await endThings(reader.store);
        await running;
        const truth = await readTruth(reader.store);
        for (const [index, client] of clients.entries()) {
          expectDelivered(client.changes, expectedChanges(truth, seqOf(reader.store, start), index === 2 ? isRedOrEnd : everything));
        }
      },
    );
  });
}
