import { createClient } from "graphql-ws";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { startTestFleet, type TestFleet, TRANSPORTS, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket, inField } from "../../support/graphql-socket.ts";

interface Changed {
  host: { revision: number } | null;
}

const WATCH = "subscription { hostEvents { type host { id revision cpu { model } } } }";

/** So many, with the numbers counted up. */
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

describe.each(TRANSPORTS)("Subscriptions with subgraphs %s", (transport) => {
  let fleet: TestFleet;

  beforeEach(async () => {
    fleet = await startTestFleet(transport);
    fleet.hosts.put("h1");
  });
  afterEach(() => fleet.stop());

  /** From-now subscriptions are in place only when the journal has them. */
  const watching = (count: number) => eventually(() => fleet.hosts.journal.watching === count);
  const subscribed = (count: number) => eventually(async () => (await fleet.metric("fleetgraph_gateway_subscriptions")) === count);

  test("each event is joined with the other subgraphs: aliases, variables, fragments, unions and conditions as in a query", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start(
      `subscription Watch($ids: [ID!], $cores: Boolean!, $at: Int = 3, $fan: Int!) {
        ...Root
      }
      fragment Root on Subscription {
        change: hostEvents(ids: $ids) {
          kind: type
          host { ...Parts fans(at: $at) other: fans(at: $fan) rack { id row } }
          about { __typename ... on Named { title: name } ... on Host { serial } ... on Zone { hosts { id cpu { model } } } }
        }
      }
      fragment Parts on Host { label: name cpu { model cores @include(if: $cores) } serial @skip(if: $cores) }`,
      { ids: ["h1"], cores: true, fan: 5 },
    );
    await watching(1);
    fleet.hosts.put("h2");
    fleet.hosts.put("h1");
    expect(await operation.received(1)).toEqual([
      {
        data: {
          change: {
            kind: "MODIFIED",
            host: { label: "name-of-h1", cpu: { model: "cpu-of-h1", cores: 8 }, fans: 6, other: 10, rack: { id: "rack-a", row: 3 } },
            about: [
              {
                __typename: "Zone",
                title: "zone-a",
                hosts: [
                  { id: "h1", cpu: { model: "cpu-of-h1" } },
                  { id: "h2", cpu: { model: "cpu-of-h2" } },
                ],
              },
              { __typename: "Host", title: "name-of-h1", serial: "serial-of-h1" },
            ],
          },
        },
      },
    ]);
    await socket.close();
  });

  test("an event can be partial, and nulls go up only as far as the schema says", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start("subscription { hostEvents { cursor host { id broken serial } } }");
    await watching(1);
    fleet.hosts.put("h1");
    fleet.hardware.unknown.add("h2");
    fleet.hosts.put("h2");
    fleet.hardware.failing.add("h3");
    fleet.hosts.put("h3");
    const [partial, missing, failed] = await operation.received(3);
    expect(partial).toMatchObject({
      data: { hostEvents: { host: { id: "h1", broken: null, serial: "serial-of-h1" } } },
      errors: [
        {
          message: "The host is broken.",
          path: ["hostEvents", "host", "broken"],
          extensions: { code: "FAILED_PRECONDITION", part: "fan" },
        },
      ],
    });
    expect(missing).toMatchObject({ data: { hostEvents: { cursor: expect.any(String), host: null } } });
    expect(failed).toMatchObject({ data: { hostEvents: { host: null } } });
    expect(failed?.errors?.map(({ extensions }) => extensions["code"])).toContain("UNAVAILABLE");
    await socket.close();
  });

  test("a missing entity alone is an error at the field that must not be null", async () => {
    fleet.hardware.unknown.add("h2");
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start("subscription { hostEvents { type host { id serial cpu { model } } } }");
    await watching(1);
    fleet.hosts.put("h2");
    expect(await operation.received(1)).toEqual([
      {
        data: { hostEvents: { type: "ADDED", host: null } },
        errors: [
          {
            message: expect.stringContaining("Host.serial"),
            path: ["hostEvents", "host", "serial"],
            extensions: { code: "INTERNAL", reason: "InvalidSubgraphAnswer" },
          },
        ],
      },
    ]);
    await socket.close();
  });

  test("clients that ask for the same in the same name share one upstream, one resolution and one fetch per event", async () => {
    const sockets = await Promise.all(numbers(5).map(() => GraphQLSocket.connect(fleet.gateway.url, token("ann"))));
    // The same operation, spelt differently; the start position is no part of it.
    const operations = sockets.map((socket, index) =>
      index === 0
        ? socket.start("subscription($after: String) { hostEvents(after: $after) { type, host { id revision cpu { model } } } }")
        : socket.start(WATCH),
    );
    const other = await GraphQLSocket.connect(fleet.gateway.url, token("bea"));
    const others = other.start(WATCH);
    await watching(2);
    expect(await fleet.metric("fleetgraph_gateway_upstreams")).toBe(2);
    await subscribed(6);
    const before = fleet.hardware.resolved;
    fleet.hosts.put("h1");
    for (const operation of [...operations, others]) {
      expect(await operation.received(1)).toEqual([
        { data: { hostEvents: { type: "MODIFIED", host: { id: "h1", revision: 2, cpu: { model: "cpu-of-h1" } } } } },
      ]);
    }
    expect(fleet.hardware.resolved - before).toBe(2);
    expect(fleet.hosts.journal.opened).toBe(2);
    await Promise.all([...sockets, other].map((socket) => socket.close()));
  });

  test("a subscription with other variables or another role is not shared", async () => {
    const query = "subscription($ids: [ID!]) { hostEvents(ids: $ids) { host { id } } }";
    const ann = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const admin = await GraphQLSocket.connect(fleet.gateway.url, token("ann", { role: "admin" }));
    ann.start(query, { ids: ["h1"] });
    ann.start(query, { ids: ["h2"] });
    admin.start(query, { ids: ["h1"] });
    await watching(3);
    await Promise.all([ann.close(), admin.close()]);
    await watching(0);
  });

  test("the first to leave disturbs nobody, the last one ends the upstream at once, also when it is quiet", async () => {
    const sockets = await Promise.all(numbers(3).map(() => GraphQLSocket.connect(fleet.gateway.url, token("ann"))));
    const [first, second, third] = sockets.map((socket) => socket.start(WATCH));
    await watching(1);
    await subscribed(3);
    first?.stop();
    await subscribed(2);
    fleet.hosts.put("h1");
    await second?.received(1);
    await sockets[1]?.close();
    fleet.hosts.put("h1");
    expect(await third?.received(2)).toHaveLength(2);
    expect(first?.results).toEqual([]);
    third?.stop();
    await watching(0);
    const quiet = sockets[2]?.start("subscription { quiet { number } }");
    await eventually(() => fleet.hosts.quietSources === 1);
    quiet?.stop();
    await eventually(() => fleet.hosts.quietSources === 0);
    sockets[2]?.start("subscription { quiet { number } }");
    await eventually(() => fleet.hosts.quietSources === 1);
    // A client that vanishes, without a word.
    sockets[2]?.socket.terminate();
    await eventually(() => fleet.hosts.quietSources === 0);
    await eventually(async () => (await fleet.metric("fleetgraph_gateway_upstreams")) === 0);
    expect(await fleet.metric("fleetgraph_gateway_subscriptions")).toBe(0);
    await Promise.all(sockets.map((socket) => socket.close()));
  });

  test("1,000 events arrive in order, and a finite stream completes after its last", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start('subscription { ticks(count: 1000, hostId: "h1") { number host { cpu { model } } } }');
    const results = await operation.received(1000);
    expect(results.map(({ data }) => inField<{ number: number }>({ data }, "ticks").number)).toEqual(numbers(1000));
    expect(results[999]).toEqual({ data: { ticks: { number: 1000, host: { cpu: { model: "cpu-of-h1" } } } } });
    expect((await operation.ended()).kind).toBe("complete");
    const watch = socket.start("subscription { hostEvents { host { revision serial } } }");
    await watching(1);
    for (const _ of numbers(1000)) fleet.hosts.put("h1");
    const events = await watch.received(1000);
    expect(events.map(({ data }) => inField<Changed>({ data }, "hostEvents").host?.revision)).toEqual(
      numbers(1000).map((revision) => revision + 1),
    );
    await socket.close();
  });

  test("token and request id reach the subgraphs on subscribing and with each event's fetches", async () => {
    const byPayload = await GraphQLSocket.connect(fleet.gateway.url, token("ann"), { "x-request-id": "conn-1" });
    const byHeader = await GraphQLSocket.open(fleet.gateway.url, {
      headers: { authorization: `Bearer ${token("bea")}`, "x-request-id": "conn-2" },
    });
    byHeader.send({ type: "connection_init" });
    await byHeader.frame(({ type }) => type === "connection_ack");
    const one = byPayload.start(WATCH);
    const two = byHeader.start(WATCH);
    await watching(2);
    fleet.hosts.put("h1");
    await Promise.all([one.received(1), two.received(1)]);
    const seen = [
      { requestId: "conn-1.1", subject: "ann" },
      { requestId: "conn-2.1", subject: "bea" },
    ];
    expect(fleet.hosts.seen).toEqual(expect.arrayContaining(seen));
    expect(fleet.hardware.seen).toEqual(expect.arrayContaining(seen));
    await Promise.all([byPayload.close(), byHeader.close()]);
  });

  test("a client's expired token ends that client alone; who shares with it goes on, with events in between", async () => {
    const soon = Date.now() + 1_500;
    const early = await GraphQLSocket.connect(fleet.gateway.url, token("ann", { expiresAt: soon }));
    const first = early.start(WATCH);
    await watching(1);
    const late = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const second = late.start(WATCH);
    await subscribed(2);
    expect(fleet.hosts.journal.watching).toBe(1);
    fleet.hosts.put("h1");
    await Promise.all([first.received(1), second.received(1)]);
    const end = await first.ended();
    expect([end.kind, end.errors[0]?.extensions["code"]]).toEqual(["error", "TOKEN_EXPIRED"]);
    expect((await early.closed).code).toBe(4401);
    for (const _ of numbers(20)) {
      fleet.hosts.put("h1");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const results = await second.received(21);
    expect(results.map(({ data }) => inField<Changed>({ data }, "hostEvents").host?.revision)).toEqual(
      numbers(21).map((revision) => revision + 1),
    );
    expect(second.end).toBeNull();
    await late.close();
  });

  test("a stream that cannot be resumed is each client's own, from its beginning on, and ends with its token", async () => {
    const short = token("ann", { expiresAt: Date.now() + 1_500 });
    const sockets = await Promise.all([short, short, token("ann")].map((text) => GraphQLSocket.connect(fleet.gateway.url, text)));
    const early = sockets[0]?.start("subscription { ticks(count: 3) { number } }");
    await early?.received(1);
    const late = sockets[1]?.start("subscription { ticks(count: 3) { number } }");
    for (const operation of [early, late]) {
      expect((await operation?.received(3))?.map(({ data }) => data?.["ticks"])).toEqual(numbers(3).map((number) => ({ number })));
    }
    const operations = sockets.map((socket) => socket.start("subscription { quiet { number } }"));
    await eventually(() => fleet.hosts.quietSources === 3);
    expect((await operations[0]?.ended())?.errors[0]?.extensions["code"]).toBe("TOKEN_EXPIRED");
    expect((await operations[1]?.ended())?.errors[0]?.extensions["code"]).toBe("TOKEN_EXPIRED");
    await eventually(() => fleet.hosts.quietSources === 1);
    expect(operations[2]?.end).toBeNull();
    await Promise.all(sockets.map((socket) => socket.close()));
  });

  test("what the subgraph refuses ends that client with the subgraph's code", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const keeper = socket.start("subscription { hostEvents { cursor } }");
    await watching(1);
    const garbage = socket.start('subscription { hostEvents(after: "garbage") { cursor } }');
    expect(await garbage.ended()).toMatchObject({ kind: "error", errors: [{ extensions: { code: "INVALID_ARGUMENT", field: "after" } }] });
    const old = fleet.hosts.journal.cursor();
    fleet.hosts.put("h1");
    fleet.hosts.put("h1");
    fleet.hosts.journal.compact();
    const expired = socket.start("subscription($after: String) { hostEvents(after: $after) { cursor } }", { after: old });
    expect((await expired.ended()).errors[0]?.extensions).toEqual({ code: "CURSOR_EXPIRED", reason: "EventsCompacted" });
    expect(await keeper.received(2)).toHaveLength(2);
    expect(keeper.end).toBeNull();
    await socket.close();
  });

  test("a client's last cursor, when it comes back, shows exactly what it missed, without another upstream if that is recent", async () => {
    const query = "subscription($after: String) { hostEvents(after: $after) { cursor host { revision } } }";
    const stay = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const keeper = stay.start(query);
    await watching(1);
    const gone = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const before = gone.start(query);
    await subscribed(2);
    fleet.hosts.put("h1");
    const [last] = await before.received(1);
    await gone.close();
    fleet.hosts.put("h1");
    fleet.hosts.put("h1");
    await keeper.received(3);
    const back = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const after = back.start(query, { after: inField<{ cursor: string }>(last, "hostEvents").cursor });
    const missed = await after.received(2);
    expect(missed.map(({ data }) => data?.["hostEvents"])).toMatchObject([{ host: { revision: 3 } }, { host: { revision: 4 } }]);
    expect(fleet.hosts.journal.opened).toBe(1);
    fleet.hosts.put("h1");
    expect((await after.received(3))[2]).toMatchObject({ data: { hostEvents: { host: { revision: 5 } } } });
    await Promise.all([stay.close(), back.close()]);
  });

  test("one client with a snapshot needs one upstream, and those who come later with theirs move over to it", async () => {
    for (const id of ["h2", "h3"]) fleet.hosts.put(id);
    const query = "subscription { hostEvents(snapshot: true) { type host { id } } }";
    const sockets = await Promise.all(numbers(4).map(() => GraphQLSocket.connect(fleet.gateway.url, token("ann"))));
    const first = sockets[0]?.start(query);
    const snapshot = [
      ...["h1", "h2", "h3"].map((id) => ({ data: { hostEvents: { type: "ADDED", host: { id } } } })),
      { data: { hostEvents: { type: "BOOKMARK", host: null } } },
    ];
    expect(await first?.received(4)).toEqual(snapshot);
    await watching(1);
    const others = sockets.slice(1).map((socket) => socket.start(query));
    for (const other of others) expect(await other.received(4)).toEqual(snapshot);
    await watching(1);
    expect(await fleet.metric("fleetgraph_gateway_upstreams")).toBe(1);
    expect(await fleet.metric("fleetgraph_gateway_splices_total")).toBe(3);
    fleet.hosts.put("h2");
    for (const other of [first, ...others])
      expect((await other?.received(5))?.[4]).toEqual({ data: { hostEvents: { type: "MODIFIED", host: { id: "h2" } } } });
    await Promise.all(sockets.map((socket) => socket.close()));
    await watching(0);
  });

  test("stop() ends subscriptions with DRAINING and closes the sockets with 1001", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operations = [socket.start(WATCH), socket.start("subscription { quiet { number } }")];
    await watching(1);
    await fleet.gateway.stop();
    for (const operation of operations)
      expect(await operation.ended()).toMatchObject({ kind: "error", errors: [{ extensions: { code: "DRAINING" } }] });
    expect(await socket.closed).toEqual({ code: 1001, reason: "DRAINING" });
    await eventually(() => fleet.hosts.journal.watching === 0 && fleet.hosts.quietSources === 0);
    await expect(fetch(`${fleet.gateway.url}/healthz`)).rejects.toThrow();
  });

  test("a new schema ends subscriptions with SCHEMA_CHANGED, a broken one is refused and nothing changes", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const operation = socket.start(WATCH);
    await watching(1);
    expect(() => fleet.gateway.swapSupergraph("type Query { broken: Int }")).toThrow(/cannot be served/);
    fleet.hosts.put("h1");
    await operation.received(1);
    expect(fleet.gateway.swapSupergraph(fleet.supergraphSdl)).toBe(false);
    expect(fleet.gateway.swapSupergraph(`${fleet.supergraphSdl}\n# another\n`)).toBe(true);
    expect((await operation.ended()).errors[0]?.extensions["code"]).toBe("SCHEMA_CHANGED");
    socket.start(WATCH);
    await watching(1);
    await socket.close();
  });

  test("graphql-ws's own client works with it", async () => {
    const client = createClient({
      url: `${fleet.gateway.url.replace("http", "ws")}/graphql`,
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token("ann")}` },
    });
    const results: unknown[] = [];
    for await (const result of client.iterate({ query: 'subscription { ticks(count: 3, hostId: "h1") { number } }' })) results.push(result);
    expect(results).toEqual(numbers(3).map((number) => ({ data: { ticks: { number } } })));
    await client.dispose();
  });
});
