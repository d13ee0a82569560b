import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { NatsBus } from "../../../../subgraphs/kit/events/nats-bus.ts";
import type { JsonValue } from "../../../../subgraphs/kit/store/json.ts";
import { openReplica, type Replica, silent, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { expectDelivered, expectedChanges, readTruth, seqOf } from "../../../support/event-truth.ts";
import { NatsServer } from "../../../support/nats-server.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { RecordingClient } from "../../../support/recording-client.ts";
import { seeds } from "../../../support/seeds.ts";
import { changeThings, createRows, endThings, pickIds } from "../../../support/things.ts";
import { until } from "../../../support/until.ts";

const natsBus = (url: string) => new NatsBus({ url, name: "test", log: silent });

for (const variant of VARIANTS) {
  const database = variant.name.split(" ")[0];
  // SQLite too: two replicas in one process, with NATS between them.
  describeWithPeers(`${database} with a NATS server that is restarted`, ["nats", ...variant.peers], () => {
    let server: NatsServer;
    let temporary: TestDatabase;
    let writer: Replica;
    let reader: Replica;

    beforeAll(async () => {
      server = await NatsServer.start();
      temporary = await variant.database();
      const name = uniqueName();
      writer = await openReplica(variant, temporary.url, name, { bus: natsBus(server.url) });
      reader = await openReplica(variant, temporary.url, name, { bus: natsBus(server.url) });
      await createRows(writer.store, 50);
    });
    afterAll(async () => {
      await writer?.close();
      await reader?.close();
      await server?.close();
      await temporary?.drop();
    });

    it.each(seeds(`NATS restarted, ${database}`))("loses and repeats nothing (seed %i)", async (seed) => {
      const random = seededRandom(seed);
      const start = await writer.log.cursor("things");
      const connectTo = () => reader.log;
      const clients = [new RecordingClient(start, { random, connectTo }), new RecordingClient(start, { random, connectTo, cuts: 0.02 })];
      const running = Promise.all(clients.map((client) => client.run()));
      const writing = (async () => {
        for (let transaction = 0; transaction < 60; transaction += 1) {
          await changeThings(writer.store, { ids: pickIds(random, 50, 1 + Math.floor(random() * 5)), random });
          await delay(random() * 8);
        }
      })();
      await delay(random() * 150);
      await server.restart(random() * 100);
      await writing;
      await endThings(writer.store);
      await running;
      const truth = await readTruth(writer.store);
      for (const client of clients)
        expectDelivered(
          client.changes,
          expectedChanges(truth, seqOf(writer.store, start), () => true),
        );
    });
  });
}

describeWithPeers("the NATS bus", "nats", () => {
  it("connects by itself once the server is there, and again after each restart, and says so to subscribers", async () => {
    const server = await NatsServer.start();
    await server.kill();
    const bus = natsBus(server.url);
    const got: JsonValue[] = [];
    bus.subscribe("a", (message) => got.push(message));
    bus.publish("a", "dropped: nobody is connected");
    expect(bus.connected).toBe(false);
    await server.start();
    await until(() => got.length > 0, "the first connection");
    expect(got).toEqual([null]);
    bus.publish("a", { one: 1 });
    await until(() => got.length === 2, "the message");
    await server.restart(0);
    await until(() => got.length === 3 && bus.connected, "the connection after a restart");
    bus.publish("a", 2);
    await until(() => got.length === 4, "the message after a restart");
    expect(got).toEqual([null, { one: 1 }, null, 2]);
    await bus.close();
    await server.close();
  });

  it("sends the small message where the server does not take the large one", async () => {
    const server = await NatsServer.start();
    const bus = natsBus(server.url);
    const got: JsonValue[] = [];
    bus.subscribe("a", (message) => got.push(message));
    await until(() => bus.connected, "the connection");
    bus.publish("a", "x".repeat(2 * 1024 * 1024), "small");
    bus.publish("a", "x".repeat(2 * 1024 * 1024));
    bus.publish("a", "end");
    await until(() => got.includes("end"), "the last message");
    expect(got.filter((message) => message !== null)).toEqual(["small", "end"]);
    await bus.close();
    await server.close();
  });

  it("can be closed while no server is there", async () => {
    const server = await NatsServer.start();
    await server.close();
    const bus = natsBus(server.url);
    await delay(20);
    await bus.close();
    expect(bus.connected).toBe(false);
  });
});
