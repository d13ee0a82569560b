import { createConnection } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestFleet, type TestFleet, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket, inField } from "../../support/graphql-socket.ts";

interface Changed {
  host: { revision: number } | null;
}

describe("A client's socket", () => {
  let fleet: TestFleet;
  const connect = () => GraphQLSocket.connect(fleet.gateway.url, token("ann"));

  beforeAll(async () => {
    fleet = await startTestFleet("in process", {
      gateway: { limits: { initMs: 200, operationsPerSocket: 3, requestBytes: 10_000, pingMs: 300 } },
    });
    fleet.hosts.put("h1");
  });
  afterAll(() => fleet.stop());

  test.each([
    ["what is not JSON", "{"],
    ["what is not an object", "[]"],
    ["a message without a type", "{}"],
    ["an unknown message", '{"type":"start","id":"1"}'],
    ["a subscribe without a query", '{"type":"subscribe","id":"1","payload":{}}'],
    ["a message of the server", '{"type":"connection_ack"}'],
    ["a binary frame", Buffer.from([1, 2, 3])],
  ])("is closed with 4400 for %s", async (_, message) => {
    const client = await connect();
    client.socket.send(message);
    expect((await client.closed).code).toBe(4400);
  });

  test("is closed with 4429 for a second connection_init, also before the first is acknowledged", async () => {
    const client = await connect();
    client.send({ type: "connection_init" });
    expect((await client.closed).code).toBe(4429);
    const hasty = await GraphQLSocket.open(fleet.gateway.url);
    hasty.send({ type: "connection_init", payload: { authorization: `Bearer ${token("ann")}` } });
    hasty.send({ type: "connection_init" });
    expect((await hasty.closed).code).toBe(4429);
  });

  test("is closed with 4401 for a subscribe before the acknowledgement, and for a token that is no good", async () => {
    const early = await GraphQLSocket.open(fleet.gateway.url);
    early.start("{ __typename }");
    expect((await early.closed).code).toBe(4401);
    for (const [authorization, reason] of [
      [undefined, /^UNAUTHENTICATED/],
      ["Bearer nonsense", /^UNAUTHENTICATED/],
      [`Bearer ${token("ann", { expiresAt: 1 })}`, /^TOKEN_EXPIRED/],
    ] as const) {
      const client = await GraphQLSocket.open(fleet.gateway.url);
      client.send({ type: "connection_init", ...(authorization && { payload: { authorization } }) });
      const { code, reason: text } = await client.closed;
      expect(code).toBe(4401);
      expect(text).toMatch(reason);
    }
  });

  test("is closed with 4408 without connection_init, with 4406 for another protocol, with 1009 for a message too long", async () => {
    const silent = await GraphQLSocket.open(fleet.gateway.url);
    expect((await silent.closed).code).toBe(4408);
    const old = GraphQLSocket.open(fleet.gateway.url, { protocol: "graphql-ws" });
    await expect(old).rejects.toThrow(/subprotocol/i);
    const long = await connect();
    long.start(`{ __typename } # ${"x".repeat(20_000)}`);
    expect((await long.closed).code).toBe(1009);
  });

  test("is closed with 4409 for an id that is in use; an id that is free again may be used again at once", async () => {
    const client = await connect();
    const first = client.start("subscription { hostEvents { type } }", {}, "same");
    await eventually(() => fleet.hosts.journal.watching === 1);
    const { opened } = fleet.hosts.journal;
    first.stop();
    const second = client.start("subscription { hostEvents { type host { id } } }", {}, "same");
    await eventually(() => fleet.hosts.journal.opened === opened + 1 && fleet.hosts.journal.watching === 1);
    fleet.hosts.put("h1");
    expect(await second.received(1)).toEqual([{ data: { hostEvents: { type: "MODIFIED", host: { id: "h1" } } } }]);
    client.start("{ __typename }", {}, "same");
    expect((await client.closed).code).toBe(4409);
    await eventually(() => fleet.hosts.journal.watching === 0);
  });

  test("stays open when an operation is wrong: the operation alone gets an error", async () => {
    const client = await connect();
    const codeOf = async (query: string) => (await client.start(query).ended()).errors[0]?.extensions["code"];
    expect(await codeOf("{ hosts {")).toBe("GRAPHQL_PARSE_FAILED");
    expect(await codeOf("subscription { nothing }")).toBe("GRAPHQL_VALIDATION_FAILED");
    expect(await codeOf("subscription { quiet { number } hostEvents { type } }")).toBe("GRAPHQL_VALIDATION_FAILED");
    expect(await codeOf("subscription { ... on Subscription @include(if: false) { quiet { number } } }")).toBe("GRAPHQL_VALIDATION_FAILED");
    expect(await codeOf("subscription($count: Int!) { ticks(count: $count) { number } }")).toBe("BAD_USER_INPUT");
    expect(await codeOf("query A { __typename } query B { __typename }")).toBe("OPERATION_RESOLUTION_FAILURE");
    expect(await client.start("{ __typename }").received(1)).toEqual([{ data: { __typename: "Query" } }]);
    await client.close();
  });

  test("takes a bounded number of operations", async () => {
    const client = await connect();
    const operations = [1, 2, 3, 4].map(() => client.start("subscription { quiet { number } }"));
    expect((await operations[3]?.ended())?.errors[0]?.extensions).toEqual({
      code: "RESOURCE_EXHAUSTED",
      reason: "TooManyOperations",
      limit: 3,
    });
    operations[0]?.stop();
    const next = client.start("{ __typename }");
    await next.received(1);
    await client.close();
    await eventually(() => fleet.hosts.quietSources === 0);
  });

  test("answers pings, and pings itself: a peer that does not answer is cut", async () => {
    const client = await connect();
    client.send({ type: "ping", payload: { n: 1 } });
    expect(await client.frame(({ type }) => type === "pong")).toEqual({ type: "pong", payload: { n: 1 } });
    // Longer than two of the gateway's pings.
    await new Promise((resolve) => setTimeout(resolve, 800));
    client.send({ type: "ping" });
    await client.frame((frame) => frame["type"] === "pong" && !("payload" in frame));
    // From here on nothing is read, so that nothing is answered.
    client.socket.pause();
    await eventually(async () => (await fleet.metric("fleetgraph_gateway_sockets")) === 0);
    client.socket.terminate();
  });

  test("is refused at an address that is none, and a broken upgrade harms nobody", async () => {
    const raw = createConnection(fleet.gateway.port, "127.0.0.1");
    raw.write("GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    const answer = await new Promise<string>((resolve) => raw.once("data", (data) => resolve(String(data))));
    expect(answer).toMatch(/^HTTP\/1.1 404/);
    const broken = createConnection(fleet.gateway.port, "127.0.0.1");
    broken.write("GET /graphql HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: no\r\n\r\n");
    await new Promise((resolve) => broken.once("data", resolve));
    broken.destroy();
    await (await connect()).close();
  });
});

test("a client that stops reading is told SLOW_CONSUMER and cut; it delays nobody else", async () => {
  const fleet = await startTestFleet("in process", {
    gateway: { limits: { lagMessages: 100, lagBytes: 1_000_000, socketBufferBytes: 16_384, cutMs: 300 } },
  });
  try {
    fleet.hosts.put("h1");
    const filler = "x".repeat(200);
    const query = `subscription { hostEvents { type host { revision ${Array.from({ length: 40 }, (_, i) => `f${i}${filler}: name`).join(" ")} } } }`;
    const slow = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const healthy = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const stuck = slow.start(query);
    const moving = healthy.start(query);
    await eventually(async () => (await fleet.metric("fleetgraph_gateway_subscriptions")) === 2 && fleet.hosts.journal.watching === 1);
    slow.socket.pause();
    // About 9 KB an event: what the kernel and the gateway's buffers take is full after some hundred.
    let sent = 0;
    while ((await fleet.metric("fleetgraph_gateway_sockets")) === 2 && sent < 20_000) {
      for (let i = 0; i < 20; i += 1) fleet.hosts.put("h1");
      sent += 20;
      await moving.received(sent);
    }
    expect(await fleet.metric("fleetgraph_gateway_errors_total", { code: "SLOW_CONSUMER" })).toBe(1);
    expect(moving.end).toBeNull();
    expect(moving.results.map(({ data }) => inField<Changed>({ data }, "hostEvents").host?.revision)).toEqual(
      Array.from({ length: sent }, (_, index) => index + 2),
    );
    slow.socket.resume();
    await slow.closed;
    expect(stuck.results.length).toBeLessThan(sent);
    expect(fleet.hosts.journal.watching).toBe(1);
    await healthy.close();
  } finally {
    await fleet.stop();
  }
});
