import { describe, expect, test } from "vitest";
import { startTestFleet, TRANSPORTS, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket, inField } from "../../support/graphql-socket.ts";

/** About 9 KB an event. */
const QUERY = `subscription ($count: Int!) { ticks(count: $count, hostId: "h1") { number
  host { ${Array.from({ length: 40 }, (_, index) => `f${index}${"x".repeat(200)}: name`).join(" ")} } } }`;
const SLOW = { lagMessages: 100, lagBytes: 1_000_000, socketBufferBytes: 16_384, cutMs: 300 };

describe.each(TRANSPORTS)("Streams that cannot be resumed, with subgraphs %s", (transport) => {
  test("come whole, however much there is, at the pace of each reader; one that stops delays no other", async () => {
    const fleet = await startTestFleet(transport, { gateway: { limits: SLOW } });
    try {
      fleet.hosts.put("h1");
      const [stopped, steady] = await Promise.all(["ann", "ann"].map((name) => GraphQLSocket.connect(fleet.gateway.url, token(name))));
      const held = stopped!.start(QUERY, { count: 700 });
      await held.received(1);
      stopped!.socket.pause();
      const whole = (count: number) => Array.from({ length: count }, (_, index) => index + 1);
      const seen = (operation: typeof held) => operation.results.map(({ data }) => inField<{ number: number }>({ data }, "ticks").number);
      const moving = steady!.start(QUERY, { count: 700 });
      expect((await moving.ended(60_000)).kind).toBe("complete");
      expect(seen(moving)).toEqual(whole(700));
      stopped!.socket.resume();
      expect((await held.ended(60_000)).kind).toBe("complete");
      expect(seen(held)).toEqual(whole(700));
      await Promise.all([stopped!.close(), steady!.close()]);
    } finally {
      await fleet.stop();
    }
  });

  test("hold back their source while their reader reads nothing, and end with SLOW_CONSUMER where that lasts", async () => {
    const fleet = await startTestFleet(transport, { gateway: { limits: { ...SLOW, stallMs: 1_000 } } });
    try {
      fleet.hosts.put("h1");
      const slow = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
      const other = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
      const held = slow.start(QUERY, { count: 100_000 });
      await held.received(1);
      slow.socket.pause();
      const quiet = other.start("subscription { quiet { number } }");
      await eventually(async () => (await fleet.metric("fleetgraph_gateway_errors_total", { code: "SLOW_CONSUMER" })) === 1, 60_000);
      // Some megabytes are on the way, in the kernel's buffers mostly; the rest was never made.
      expect(fleet.hosts.ticked).toBeLessThan(50_000);
      await eventually(async () => (await fleet.metric("fleetgraph_gateway_upstreams")) === 1);
      expect(quiet.end).toBeNull();
      slow.socket.resume();
      await slow.closed;
      await other.close();
    } finally {
      await fleet.stop();
    }
  });
});

test.each([
  { why: "much to send", sockets: { bufferedBytes: 1_000, slowConsumerMs: 300 }, pingMs: 1_000 },
  { why: "pings without an answer", sockets: { slowConsumerMs: 60_000, pingMs: 1_000 }, pingMs: 500 },
])("a stream that its subgraph gave up because its reader stopped ($why) ends with SLOW_CONSUMER", async ({ sockets, pingMs }) => {
  const limits = { ...SLOW, stallMs: 60_000, upstreamPingMs: pingMs, upstreamReadAhead: 4 };
  const fleet = await startTestFleet("over HTTP", { subgraphSockets: sockets, gateway: { limits } });
  try {
    fleet.hosts.put("h1");
    const slow = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    // No faster than it is read, and more than all buffers on its way hold.
    const held = slow.start(QUERY, { count: 20_000 });
    await held.received(1);
    slow.socket.pause();
    await eventually(() => fleet.hosts.ticking === 0, 60_000);
    slow.socket.resume();
    expect((await held.ended(60_000)).errors[0]?.extensions["code"]).toBe("SLOW_CONSUMER");
    await slow.close();
  } finally {
    await fleet.stop();
  }
});
