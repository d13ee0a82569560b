import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { startGateway } from "../../../gateway/main.ts";
import { Metrics } from "../../../platform/observability/metrics.ts";
import { HostsSubgraph } from "../../support/gateway-subgraphs/hosts.ts";
import { compose, startTestFleet, type TestFleet, testLog, testVerifier, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket, inField, type SocketOperation } from "../../support/graphql-socket.ts";

interface Changed {
  host: { revision: number } | null;
}

const revisions = (operation: SocketOperation) =>
  operation.results.flatMap(({ data }) => inField<Changed>({ data }, "hostEvents").host?.revision ?? []);
const from2 = (count: number) => Array.from({ length: count }, (_, index) => index + 2);

describe("An upstream that is lost", () => {
  async function withFleet(
    work: (fleet: TestFleet, socket: GraphQLSocket) => Promise<void>,
    options: Parameters<typeof startTestFleet>[1] = {},
  ) {
    const fleet = await startTestFleet("over HTTP", options);
    fleet.hosts.put("h1");
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    try {
      await work(fleet, socket);
    } finally {
      await socket.close();
      await fleet.stop();
    }
  }

  test("goes on behind the last cursor, without gap or repeat, when the subgraph is back", () =>
    withFleet(async (fleet, socket) => {
      const operation = socket.start("subscription { hostEvents { host { revision cpu { model } } } }");
      await eventually(() => fleet.hosts.journal.watching === 1);
      let count = 0;
      for (let outage = 0; outage < 3; outage += 1) {
        fleet.hosts.put("h1");
        await operation.received(++count);
        await fleet.hostsProxy?.cut();
        for (let i = 0; i < 5; i += 1, count += 1) fleet.hosts.put("h1");
        await fleet.hostsProxy?.restore();
        await operation.received(count);
      }
      expect(revisions(operation)).toEqual(from2(count));
      expect(operation.end).toBeNull();
      expect(await fleet.metric("fleetgraph_gateway_resumes_total", { subgraph: "hosts" })).toBeGreaterThanOrEqual(3);
    }));

  test("goes on in the middle of a snapshot", () =>
    withFleet(
      async (fleet, socket) => {
        for (let i = 0; i < 400; i += 1) fleet.hosts.put(`s${String(i).padStart(3, "0")}`);
        // Wide events, so that the snapshot does not fit into the buffers on the way.
        const wide = Array.from({ length: 40 }, (_, i) => `f${i}${"x".repeat(200)}: name`).join(" ");
        const operation = socket.start(`subscription { hostEvents(snapshot: true) { type host { id ${wide} } } }`);
        await operation.received(5);
        socket.socket.pause();
        await new Promise((resolve) => setTimeout(resolve, 200));
        fleet.hostsProxy?.breakConnections();
        for (let i = 0; i < 400; i += 1) fleet.hosts.put(`s${String(i).padStart(3, "0")}`);
        socket.socket.resume();
        const results = await operation.received(401 + 1 + 400);
        const seen = results.map(({ data }) => data?.["hostEvents"] as { type: string; host: { id: string } | null });
        expect(seen.slice(0, 401).map(({ type, host }) => `${type} ${host?.id}`)).toEqual([
          "ADDED h1",
          ...Array.from({ length: 400 }, (_, i) => `ADDED s${String(i).padStart(3, "0")}`),
        ]);
        expect(seen[401]?.type).toBe("BOOKMARK");
        expect(new Set(seen.slice(402).map(({ type }) => type))).toEqual(new Set(["MODIFIED"]));
        expect(await fleet.metric("fleetgraph_gateway_resumes_total")).toBeGreaterThanOrEqual(1);
      },
      { gateway: { limits: { socketBufferBytes: 16_384, upstreamReadAhead: 4 } } },
    ));

  test("ends with UNAVAILABLE when it does not come back in time", () =>
    withFleet(
      async (fleet, socket) => {
        const operation = socket.start("subscription { hostEvents { host { revision } } }");
        await eventually(() => fleet.hosts.journal.watching === 1);
        fleet.hosts.put("h1");
        await operation.received(1);
        await fleet.hostsProxy?.cut();
        const end = await operation.ended();
        expect(end).toEqual({
          kind: "error",
          errors: [
            { message: 'The subgraph "hosts" was lost and did not come back.', extensions: { code: "UNAVAILABLE", subgraph: "hosts" } },
          ],
        });
      },
      { gateway: { limits: { resumeMs: 400 } } },
    ));

  test("ends with UNAVAILABLE where no position is known, or the field has none: never silently, never with a plain complete", () =>
    withFleet(async (fleet, socket) => {
      const watch = socket.start("subscription { hostEvents { host { revision } } }");
      const quiet = socket.start("subscription { quiet { number } }");
      await eventually(() => fleet.hosts.journal.watching === 1 && fleet.hosts.quietSources === 1);
      fleet.hostsProxy?.breakConnections();
      for (const operation of [watch, quiet]) {
        expect(await operation.ended()).toMatchObject({
          kind: "error",
          errors: [{ extensions: { code: "UNAVAILABLE", subgraph: "hosts" } }],
        });
      }
    }));

  test("is found out where it cannot be reached at all, within its time and without its address", () =>
    withFleet(
      async (fleet, socket) => {
        await fleet.hostsProxy?.cut();
        const end = await socket.start("subscription { hostEvents { host { revision } } }").ended();
        expect(end.errors).toEqual([
          { message: 'The subgraph "hosts" cannot be reached.', extensions: { code: "UNAVAILABLE", subgraph: "hosts" } },
        ]);
        // And a subgraph in the middle of a restart is waited for.
        const patient = socket.start("subscription { hostEvents { host { revision } } }");
        await fleet.hostsProxy?.restore();
        await eventually(() => fleet.hosts.journal.watching === 1);
        fleet.hosts.put("h1");
        await patient.received(1);
      },
      { gateway: { limits: { openMs: 500 } } },
    ));

  test("of an entity's subgraph makes events partial, and whole again when that is back", () =>
    withFleet(async (fleet, socket) => {
      const operation = socket.start("subscription { hostEvents { host { revision cpu { model } } } }");
      await eventually(() => fleet.hosts.journal.watching === 1);
      await fleet.hardwareProxy?.cut();
      fleet.hosts.put("h1");
      expect(await operation.received(1)).toEqual([
        {
          data: { hostEvents: { host: { revision: 2, cpu: null } } },
          errors: [
            {
              message: 'The subgraph "hardware" cannot be reached.',
              path: ["hostEvents", "host"],
              extensions: { code: "UNAVAILABLE", subgraph: "hardware" },
            },
          ],
        },
      ]);
      await fleet.hardwareProxy?.restore();
      fleet.hosts.put("h1");
      expect((await operation.received(2))[1]).toEqual({ data: { hostEvents: { host: { revision: 3, cpu: { model: "cpu-of-h1" } } } } });
    }));

  test("by a subgraph that drains goes on with its successor", () =>
    withFleet(async (fleet, socket) => {
      const operation = socket.start("subscription { hostEvents { host { revision } } }");
      await eventually(() => fleet.hosts.journal.watching === 1);
      for (let round = 1; round <= 5; round += 1) {
        fleet.hosts.put("h1");
        await operation.received(round);
        await fleet.restartHosts();
      }
      fleet.hosts.put("h1");
      await operation.received(6);
      expect(revisions(operation)).toEqual(from2(6));
    }));
});

/** A gateway over a subgraph whose WebSocket does what it likes. */
async function withStrangeSubgraph(onSocket: (socket: WebSocket) => void, work: (client: GraphQLSocket) => Promise<void>): Promise<void> {
  const server = createServer((_request, response) => response.end("<html>not GraphQL</html>"));
  const sockets = new WebSocketServer({ server, handleProtocols: () => "graphql-transport-ws" });
  sockets.on("connection", onSocket);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const gateway = await startGateway({
    supergraphSdl: compose([new HostsSubgraph()]),
    subgraphs: { hosts: { url: `http://127.0.0.1:${port}/graphql` } },
    verifier: testVerifier,
    host: "127.0.0.1",
    port: 0,
    log: testLog,
    metrics: new Metrics(),
    limits: { upstreamConnectMs: 300, openMs: 100, resumeMs: 300, upstreamPingMs: 200 },
  });
  const client = await GraphQLSocket.connect(gateway.url, token("ann"));
  try {
    await work(client);
  } finally {
    await client.close();
    await gateway.stop();
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

describe("A subgraph that misbehaves", () => {
  const watch = "subscription { hostEvents { type cursor } }";
  const unavailable = { kind: "error", errors: [{ extensions: { code: "UNAVAILABLE", subgraph: "hosts" } }] };

  test("by never acknowledging is given up within the deadline", () =>
    withStrangeSubgraph(
      () => undefined,
      async (client) => expect(await client.start(watch).ended(3_000)).toMatchObject(unavailable),
    ));

  test("by sending what is no message is given up", () =>
    withStrangeSubgraph(
      (socket) => socket.send("{"),
      async (client) => expect(await client.start(watch).ended(3_000)).toMatchObject(unavailable),
    ));

  test("by falling silent after a while is noticed by its missing pongs", () =>
    withStrangeSubgraph(
      (socket) => {
        socket.once("message", () => {
          socket.send('{"type":"connection_ack"}');
          socket.once("message", () => socket.pause());
        });
      },
      async (client) => expect(await client.start(watch).ended(5_000)).toMatchObject(unavailable),
    ));

  test("by a plain complete in a stream that never ends is a loss, not an end", () =>
    withStrangeSubgraph(
      (socket) => {
        socket.on("message", (data) => {
          const { type, id } = JSON.parse(String(data));
          if (type === "connection_init") socket.send('{"type":"connection_ack"}');
          if (type === "subscribe") socket.send(JSON.stringify({ type: "complete", id }));
        });
      },
      async (client) => expect(await client.start(watch).ended(5_000)).toMatchObject(unavailable),
    ));

  test("by answering a query with a page is UNAVAILABLE", () =>
    withStrangeSubgraph(
      () => undefined,
      async (client) => {
        const operation = client.start("{ hosts { id } }");
        const [result] = await operation.received(1);
        expect(result).toEqual({
          data: null,
          errors: [
            {
              message: 'The subgraph "hosts" gave an answer that is not JSON (HTTP status 200).',
              extensions: { code: "UNAVAILABLE", subgraph: "hosts" },
            },
          ],
        });
      },
    ));
});
