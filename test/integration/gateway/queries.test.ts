import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { startTestFleet, type TestFleet, TRANSPORTS, token } from "../../support/gateway-subgraphs/test-fleet.ts";
import { eventually, GraphQLSocket } from "../../support/graphql-socket.ts";

interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the answers differ per query
  body: any;
}

async function post(
  fleet: TestFleet,
  query: string,
  variables: Record<string, unknown> = {},
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(`${fleet.gateway.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token("ann")}`, ...headers },
    body: JSON.stringify({ query, variables }),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

describe.each(TRANSPORTS)("Queries with subgraphs %s", (transport) => {
  let fleet: TestFleet;

  beforeAll(async () => {
    fleet = await startTestFleet(transport, {
      gateway: {
        origins: ["https://ui.example"],
        exchangeCode: async (code) => {
          if (code !== "good") throw new FleetError("UNAUTHENTICATED", "Used already.", { reason: "InvalidCode" });
          return { token: "t", expiresAt: 1 };
        },
      },
    });
    for (const id of ["h1", "h2", "h3"]) fleet.hosts.put(id);
  });
  afterAll(() => fleet.stop());
  beforeEach(() => {
    fleet.hardware.unknown.clear();
    fleet.hardware.failing.clear();
  });

  test("a query spans three subgraphs", async () => {
    const { body, status } = await post(fleet, "{ hosts { id name cpu { model } rack { id row } } }");
    expect(status).toBe(200);
    expect(body).toEqual({
      data: {
        hosts: ["h1", "h2", "h3"].map((id) => ({
          id,
          name: `name-of-${id}`,
          cpu: { model: `cpu-of-${id}` },
          rack: { id: "rack-a", row: 3 },
        })),
      },
    });
  });

  test("variables, aliases, fragments, unions and conditions shape the answer", async () => {
    const { body } = await post(
      fleet,
      `query Q($id: ID!, $cores: Boolean!, $at: Int = 4) {
        mine: host(id: $id) { ...Parts fans(at: $at) }
        things { __typename ... on Host { hostName: name serial @skip(if: $cores) } ... on Zone { hosts { id } } }
        named { name ... on Host { cpu { model } } }
      }
      fragment Parts on Host { label: name cpu { model cores @include(if: $cores) } }`,
      { id: "h2", cores: true },
    );
    expect(body.errors).toBeUndefined();
    expect(body.data.mine).toEqual({ label: "name-of-h2", cpu: { model: "cpu-of-h2", cores: 8 }, fans: 8 });
    expect(body.data.things).toEqual([
      { __typename: "Zone", hosts: [{ id: "h1" }, { id: "h2" }, { id: "h3" }] },
      ...["h1", "h2", "h3"].map((id) => ({ __typename: "Host", hostName: `name-of-${id}` })),
    ]);
    expect(body.data.named.at(-1)).toEqual({ name: "zone-a" });
    expect(body.data.named[0]).toEqual({ name: "name-of-h1", cpu: { model: "cpu-of-h1" } });
  });

  test("an error of a subgraph keeps message, code, reason and details, and gets the path that the client sees", async () => {
    const { body } = await post(fleet, '{ one: host(id: "h1") { id fault: broken failing cpu { model } } }');
    expect(body.data).toEqual({ one: { id: "h1", fault: null, failing: null, cpu: { model: "cpu-of-h1" } } });
    expect(body.errors).toHaveLength(2);
    expect(body.errors[0]).toMatchObject({
      message: "The host is broken.",
      path: ["one", "fault"],
      extensions: { code: "FAILED_PRECONDITION", reason: "Broken", part: "fan" },
    });
    expect(body.errors[1]).toMatchObject({ path: ["one", "failing"], extensions: { code: "DEADLINE_EXCEEDED" } });
    expect(JSON.stringify(body)).not.toMatch(/serviceName|stack|127\.0\.0\.1/);
  });

  test("an entity that cannot be had is null with the error at its place in the list", async () => {
    fleet.hardware.failing.add("h2");
    const { body } = await post(fleet, "{ hosts { id cpu { model } } }");
    expect(body.data.hosts).toEqual([
      { id: "h1", cpu: { model: "cpu-of-h1" } },
      { id: "h2", cpu: null },
      { id: "h3", cpu: { model: "cpu-of-h3" } },
    ]);
    expect(body.errors).toEqual([
      expect.objectContaining({ path: ["hosts", 1], extensions: { code: "UNAVAILABLE", reason: "HostOff", id: "h2" } }),
    ]);
  });

  test("an error in a list of mixed types has the path of its own object", async () => {
    fleet.hardware.failing.add("h2");
    const { body } = await post(fleet, "{ things { __typename ... on Host { id cpu { model } } } }");
    expect(body.data.things[2]).toEqual({ __typename: "Host", id: "h2", cpu: null });
    expect(body.errors).toEqual([expect.objectContaining({ path: ["things", 2] })]);
  });

  test("a missing entity under a field that must not be null is an error, not a silent null", async () => {
    fleet.hardware.unknown.add("h3");
    const { body } = await post(fleet, '{ host(id: "h3") { id serial } }');
    expect(body.data).toEqual({ host: null });
    expect(body.errors).toEqual([
      expect.objectContaining({ path: ["host", "serial"], extensions: { code: "INTERNAL", reason: "InvalidSubgraphAnswer" } }),
    ]);
    expect(body.extensions).toBeUndefined();
  });

  test("a mutation runs, and its error tells what the caller needs", async () => {
    const renamed = await post(fleet, 'mutation { renameHost(id: "h1", name: "name-of-h1") { id name cpu { model } } }');
    expect(renamed.body).toEqual({ data: { renameHost: { id: "h1", name: "name-of-h1", cpu: { model: "cpu-of-h1" } } } });
    const failed = await post(fleet, 'mutation { renameHost(id: "none", name: "x") { id } }');
    expect(failed.body.data).toBeNull();
    expect(failed.body.errors[0].extensions).toEqual({ code: "NOT_FOUND", reason: "NoSuchHost", kind: "Host", id: "none" });
  });

  test("a query can come by GET, a mutation cannot, and a GET that a foreign page could send is refused", async () => {
    const get = (query: string, headers: Record<string, string> = { "apollo-require-preflight": "1" }) =>
      fetch(`${fleet.gateway.url}/graphql?query=${encodeURIComponent(query)}`, {
        headers: { authorization: `Bearer ${token("ann")}`, ...headers },
      });
    expect(await (await get('{ host(id: "h1") { id } }')).json()).toEqual({ data: { host: { id: "h1" } } });
    const mutation = await get('mutation { renameHost(id: "h1", name: "x") { id } }');
    expect([mutation.status, mutation.headers.get("allow")]).toEqual([405, "POST"]);
    expect((await get("{ __typename }", {})).status).toBe(400);
  });

  test("without a valid token the answer is 401 with a GraphQL error, whatever is asked", async () => {
    for (const query of ["{ hosts { id } }", "{ __typename }", "{ __schema { queryType { name } } }"]) {
      const { status, headers, body } = await post(fleet, query, {}, { authorization: "" });
      expect([status, headers.get("www-authenticate"), body.errors[0].extensions.code]).toEqual([401, "Bearer", "UNAUTHENTICATED"]);
      expect(body.data).toBeUndefined();
    }
    const forged = await post(fleet, "{ __typename }", {}, { authorization: "Bearer nonsense" });
    expect([forged.status, forged.body.errors[0].extensions.reason]).toEqual([401, "InvalidToken"]);
    const expired = await post(fleet, "{ __typename }", {}, { authorization: `Bearer ${token("ann", { expiresAt: 1 })}` });
    expect([expired.status, expired.body.errors[0].extensions.code]).toEqual([401, "TOKEN_EXPIRED"]);
  });

  test("what is wrong with a document or its variables has the code that GraphQL clients know", async () => {
    const codes = async (query: string, variables = {}) => {
      const { status, body } = await post(fleet, query, variables);
      return [status, body.errors[0].extensions.code];
    };
    expect(await codes("{ hosts {")).toEqual([400, "GRAPHQL_PARSE_FAILED"]);
    expect(await codes("{ nothing }")).toEqual([400, "GRAPHQL_VALIDATION_FAILED"]);
    expect(await codes("query Q($id: ID!) { host(id: $id) { id } }")).toEqual([400, "BAD_USER_INPUT"]);
    expect(await codes("query A { __typename } query B { __typename }")).toEqual([400, "OPERATION_RESOLUTION_FAILURE"]);
    expect(await codes("subscription { quiet { number } }")).toEqual([400, "BAD_REQUEST"]);
    expect(await codes(`{ ${"a: __typename ".repeat(20_000)} }`)).toEqual([400, "GRAPHQL_PARSE_FAILED"]);
  });

  test("malformed and oversized bodies are refused", async () => {
    const send = (body: string) =>
      fetch(`${fleet.gateway.url}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token("ann")}` },
        body,
      });
    expect((await send("{")).status).toBe(400);
    expect((await send("[]")).status).toBe(400);
    expect((await send(JSON.stringify({ query: `# ${"x".repeat(1_100_000)}` }))).status).toBe(413);
  });

  test("token and request id reach the subgraphs, and the id comes back", async () => {
    fleet.hosts.seen.length = 0;
    fleet.hardware.seen.length = 0;
    const { headers } = await post(
      fleet,
      '{ host(id: "h1") { cpu { model } } }',
      {},
      { "x-request-id": "req-1", authorization: `Bearer ${token("bea")}` },
    );
    expect(headers.get("x-request-id")).toBe("req-1");
    expect([...fleet.hosts.seen, ...fleet.hardware.seen]).toEqual([
      { requestId: "req-1", subject: "bea" },
      { requestId: "req-1", subject: "bea" },
    ]);
    const bad = await post(fleet, "{ __typename }", {}, { "x-request-id": "not usable <script>" });
    expect(bad.headers.get("x-request-id")).toMatch(/^[\w-]{16,64}$/);
  });

  test("a client that goes away cancels what it asked for", async () => {
    const before = fleet.hosts.cancelled;
    const request = httpRequest(`${fleet.gateway.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${token("ann")}` },
    });
    request.on("error", () => undefined);
    request.end(JSON.stringify({ query: "{ stuck }" }));
    setTimeout(() => request.destroy(), 100);
    await eventually(() => fleet.hosts.cancelled === before + 1);
  });

  test("queries and mutations run over the WebSocket, too", async () => {
    const socket = await GraphQLSocket.connect(fleet.gateway.url, token("ann"));
    const query = socket.start("query Q($id: ID!) { host(id: $id) { id cpu { model } } }", { id: "h1" });
    expect(await query.received(1)).toEqual([{ data: { host: { id: "h1", cpu: { model: "cpu-of-h1" } } } }]);
    expect((await query.ended()).kind).toBe("complete");
    const mutation = socket.start('mutation { renameHost(id: "h2", name: "name-of-h2") { name } }');
    expect(await mutation.received(1)).toEqual([{ data: { renameHost: { name: "name-of-h2" } } }]);
    const partial = socket.start('{ host(id: "h1") { broken } }');
    expect((await partial.received(1))[0]).toMatchObject({
      data: { host: { broken: null } },
      errors: [{ extensions: { code: "FAILED_PRECONDITION" } }],
    });
    const variables = socket.start("query Q($id: ID!) { host(id: $id) { id } }", {});
    expect((await variables.ended()).errors[0]?.extensions["code"]).toBe("BAD_USER_INPUT");
    await socket.close();
  });

  test("health, readiness and metrics are told", async () => {
    await post(fleet, "{ hosts { id } }");
    expect((await fetch(`${fleet.gateway.url}/healthz`)).status).toBe(200);
    const ready = await fetch(`${fleet.gateway.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      200,
      { ready: true, draining: false, subgraphs: { hardware: "ok", hosts: "ok", racks: "ok" } },
    ]);
    const metrics = await (await fetch(`${fleet.gateway.url}/metrics`)).text();
    expect(metrics).toContain("fleetgraph_gateway_operation_seconds_count");
    expect((await fetch(`${fleet.gateway.url}/nothing`)).status).toBe(404);
  });

  test("a sign-in code is exchanged once, by a page of ours", async () => {
    const exchange = (body: unknown, headers = {}) =>
      fetch(`${fleet.gateway.url}/auth/exchange`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify(body),
      });
    const good = await exchange({ code: "good" });
    expect([good.status, good.headers.get("cache-control"), await good.json()]).toEqual([200, "no-store", { token: "t", expiresAt: 1 }]);
    expect((await exchange({ code: "used" })).status).toBe(401);
    expect((await exchange({})).status).toBe(400);
    expect((await exchange({ code: "good" }, { origin: "https://evil.example" })).status).toBe(403);
    expect((await fetch(`${fleet.gateway.url}/auth/exchange`)).status).toBe(405);
  });

  test("only listed pages of other sites may read answers or open sockets", async () => {
    const preflight = (origin: string) => fetch(`${fleet.gateway.url}/graphql`, { method: "OPTIONS", headers: { origin } });
    expect((await preflight("https://ui.example")).headers.get("access-control-allow-origin")).toBe("https://ui.example");
    expect((await preflight("https://evil.example")).headers.get("access-control-allow-origin")).toBeNull();
    await expect(GraphQLSocket.open(fleet.gateway.url, { headers: { origin: "https://evil.example" } })).rejects.toThrow("403");
    for (const origin of ["https://ui.example", fleet.gateway.url]) {
      const socket = await GraphQLSocket.open(fleet.gateway.url, { headers: { origin } });
      await socket.close();
    }
  });
});

test("both ways to the subgraphs give the same answers, byte for byte", async () => {
  const fleets = [await startTestFleet("in process"), await startTestFleet("over HTTP")];
  try {
    for (const { hosts, hardware } of fleets) {
      for (const id of ["h1", "h2", "h3"]) hosts.put(id);
      hardware.failing.add("h2");
      hardware.unknown.add("h3");
    }
    for (const query of [
      "{ hosts { id revision cpu { model cores } rack { row } } }",
      "{ things { __typename ... on Host { serial failing } ... on Zone { hosts { broken } } } }",
      'mutation { renameHost(id: "none", name: "x") { id } }',
      '{ host(id: "h3") { serial } racks { hosts { name } } }',
      "{ __schema { subscriptionType { fields { name } } } }",
    ]) {
      const [inProcess, overHttp] = await Promise.all(fleets.map((fleet) => post(fleet, query)));
      expect(JSON.stringify(inProcess?.body)).toBe(JSON.stringify(overHttp?.body));
    }
  } finally {
    for (const fleet of fleets) await fleet.stop();
  }
});

test("a subgraph that is gone is UNAVAILABLE by its name, without its address, and serves again when it is back", async () => {
  const fleet = await startTestFleet("over HTTP");
  fleet.hosts.put("h1");
  try {
    await fleet.hardwareProxy?.cut();
    const { body } = await post(fleet, '{ host(id: "h1") { id cpu { model } } }');
    expect(body.data).toEqual({ host: { id: "h1", cpu: null } });
    expect(body.errors).toEqual([
      { message: 'The subgraph "hardware" cannot be reached.', path: ["host"], extensions: { code: "UNAVAILABLE", subgraph: "hardware" } },
    ]);
    const ready = await fetch(`${fleet.gateway.url}/readyz`);
    expect([ready.status, ((await ready.json()) as { subgraphs: unknown }).subgraphs]).toEqual([
      503,
      { hardware: 'The subgraph "hardware" cannot be reached.', hosts: "ok", racks: "ok" },
    ]);
    await fleet.hardwareProxy?.restore();
    const again = await post(fleet, '{ host(id: "h1") { cpu { model } } }');
    expect(again.body).toEqual({ data: { host: { cpu: { model: "cpu-of-h1" } } } });
  } finally {
    await fleet.stop();
  }
});

test("a subgraph that does not answer in time is DEADLINE_EXCEEDED, and its work is cancelled", async () => {
  const fleet = await startTestFleet("over HTTP", { gateway: { limits: { operationMs: 200 } } });
  try {
    const { body } = await post(fleet, "{ stuck }");
    expect(body.errors[0].extensions.code).toBe("DEADLINE_EXCEEDED");
    await eventually(() => fleet.hosts.cancelled === 1);
  } finally {
    await fleet.stop();
  }
});
