import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Role } from "../../../../platform/auth/identity.ts";
import { LocalIssuer } from "../../../../platform/auth/local-issuer.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { SubgraphRequest } from "../../../../platform/subgraph-handler.ts";
import { type RunningServer, serveSubgraph } from "../../../../subgraphs/kit/graphql/serve.ts";
import { createEchoSubgraph, thing } from "../../../support/echo-subgraph.ts";
import { localClient, type SubgraphClient, wireClient } from "../../../support/subgraph-client.ts";
import { until } from "../../../support/until.ts";

let keyDir: string;
let issuer: LocalIssuer;
const headers = {} as Record<Role | "forged" | "none" | "malformed", Record<string, string>>;

beforeAll(async () => {
  keyDir = await mkdtemp(join(tmpdir(), "fg-echo-"));
  issuer = await LocalIssuer.open(keyDir);
  for (const role of ["viewer", "operator", "admin"] as const) {
    const token = await issuer.issue({ subject: role, role, ttlSeconds: 3600 });
    headers[role] = { authorization: `Bearer ${token}` };
  }
  headers.forged = { authorization: `${headers.admin.authorization?.slice(0, -8)}AAAAAAAA` };
  headers.malformed = { authorization: "Basic Zm9vOmJhcg==" };
  headers.none = {};
});

afterAll(() => rm(keyDir, { recursive: true, force: true }));

interface Variant {
  name: string;
  open(): Promise<{ client: SubgraphClient; echo: ReturnType<typeof createEchoSubgraph>; stop(): Promise<void> }>;
}

type Opened = Awaited<ReturnType<Variant["open"]>>;

const limits = { eventDeadlineMs: 200 };

const variants: Variant[] = [
  {
    name: "in process",
    async open() {
      const echo = createEchoSubgraph(issuer.verifier(), limits);
      return { client: localClient(echo.handler), echo, stop: () => echo.handler.drain(1000) };
    },
  },
  {
    name: "over HTTP and graphql-ws",
    async open() {
      const echo = createEchoSubgraph(issuer.verifier(), limits);
      const server = await serve(echo);
      const client = wireClient(server.url);
      return {
        client,
        echo,
        stop: async () => {
          await client.close();
          await server.stop(1000);
        },
      };
    },
  },
];

function serve(echo: ReturnType<typeof createEchoSubgraph>, sockets = {}): Promise<RunningServer> {
  return serveSubgraph(echo.handler, { host: "127.0.0.1", port: 0, log: echo.log, metrics: echo.metrics, sockets });
}

/** Runs the same on every variant and returns the one answer that all gave. */
async function alike(act: (opened: Opened) => Promise<unknown>): Promise<string> {
  const answers: string[] = [];
  for (const variant of variants) {
    const opened = await variant.open();
    try {
      answers.push(JSON.stringify(await act(opened)));
    } finally {
      await opened.stop();
    }
  }
  expect(answers[1]).toBe(answers[0]);
  return answers[0] as string;
}

const query = (text: string, as: keyof typeof headers, more: Partial<SubgraphRequest> = {}): SubgraphRequest => ({
  query: text,
  headers: { "x-request-id": "test-1", ...headers[as] },
  ...more,
});

describe("a subgraph answers the same bytes in process and over the wire", () => {
  const cases: Array<[string, () => SubgraphRequest, RegExp]> = [
    [
      "data of every scalar as JSON primitives",
      () => query('{ thing(id: "a") { id sizeBytes at } }', "viewer"),
      /"sizeBytes":1099511627776,"at":"2026-01-02T03:04:05.678Z"/,
    ],
    ["no token", () => query('{ thing(id: "a") { id } }', "none"), /"code":"UNAUTHENTICATED"/],
    ["a forged token", () => query('{ thing(id: "a") { id } }', "forged"), /"code":"UNAUTHENTICATED","reason":"InvalidToken"/],
    ["another scheme", () => query("{ __typename }", "malformed"), /"code":"UNAUTHENTICATED","reason":"InvalidToken"/],
    ["too low a role", () => query('mutation { makeThing(id: "a") { id } }', "operator"), /"code":"FORBIDDEN","requiredRole":"admin"/],
    ["a bad argument", () => query('mutation { makeThing(id: "") { id } }', "admin"), /"code":"INVALID_ARGUMENT","field":"id"/],
    ["a document that does not parse", () => query("{ thing(", "viewer"), /"code":"GRAPHQL_PARSE_FAILED"/],
    ["a document that does not fit the schema", () => query("{ nothing }", "viewer"), /"code":"GRAPHQL_VALIDATION_FAILED"/],
    [
      "a variable of the wrong type",
      () => query("query ($n: Int64!) { echo(number: $n) }", "viewer", { variables: { n: "x" } }),
      /"code":"BAD_USER_INPUT"/,
    ],
    [
      "a variable above 2^53",
      () => query("query ($n: Int64!) { echo(number: $n) }", "viewer", { variables: { n: 2 ** 60 } }),
      /exact up to.*"code":"BAD_USER_INPUT"/,
    ],
    [
      "a time without a zone",
      () => query('{ echo(number: 1, time: "2026-01-01T00:00:00") }', "viewer"),
      /with its zone.*"code":"GRAPHQL_VALIDATION_FAILED"/,
    ],
    [
      "a null for a non-null argument",
      () => query("query ($n: Int64) { echo(number: $n) }", "viewer"),
      /"code":"GRAPHQL_VALIDATION_FAILED"/,
    ],
    [
      "an unknown operation name",
      () => query("query A { __typename }", "viewer", { operationName: "B" }),
      /"code":"OPERATION_RESOLUTION_FAILURE"/,
    ],
    [
      "several operations and no name",
      () => query("query A { __typename } query B { __typename }", "viewer"),
      /"code":"OPERATION_RESOLUTION_FAILURE"/,
    ],
    [
      "partial data with the reason at its path",
      () => query("{ partial { id } }", "viewer"),
      /"path":\["partial",1\].*"reason":"NodeOffline","id":"b".*"data":\{"partial":\[\{"id":"a"\},null,\{"id":"c"\}\]\}/,
    ],
    ["a bug, masked", () => query("{ bug }", "viewer"), /"code":"INTERNAL".*"data":\{"bug":null\}/],
    ["a null under a non-null field", () => query("{ nonNull }", "viewer"), /"code":"INTERNAL".*"data":null/],
    ["a deadline that passes", () => query("{ slow(ms: 5000) }", "viewer", { deadlineMs: 30 }), /"code":"DEADLINE_EXCEEDED"/],
    ["a subscription where a query belongs", () => query("subscription { thingEvents { type } }", "viewer"), /"code":"BAD_REQUEST"/],
    [
      "entities by reference",
      () =>
        query(
          '{ _entities(representations: [{__typename: "Thing", id: "x"}, {__typename: "Thing", id: "gone"}]) { ... on Thing { id } } }',
          "viewer",
        ),
      /\[\{"id":"x"\},null\]/,
    ],
  ];

  it.each(cases)("%s", async (_name, request, expected) => {
    expect(await alike(({ client }) => client.execute(request()))).toMatch(new RegExp(expected.source.replaceAll('"', '\\\\"')));
  });

  it("leaks nothing of a masked error, and logs it under the request's id", async () => {
    const answer = await alike(async ({ client, echo }) => {
      const text = await client.execute(query("{ bug }", "viewer"));
      expect(echo.logged.join("")).toContain("secret /etc/path");
      expect(echo.logged.join("")).toContain('"requestId":"test-1"');
      return text;
    });
    expect(answer).not.toContain("secret");
  });

  it("tells the resolvers when the caller goes away", async () => {
    await alike(async ({ client, echo }) => {
      const caller = new AbortController();
      const answer = client.execute(query("{ slow(ms: 60000) }", "viewer", { signal: caller.signal })).catch(() => "gone");
      await until(() => echo.probe.contexts === 1);
      caller.abort();
      await answer;
      await until(() => echo.probe.aborted.length === 1);
      return (echo.probe.aborted[0] as FleetError).code;
    });
  });

  it("hands the caller's request id to the resolvers", async () => {
    const ids = await alike(async ({ client, echo }) => {
      await client.execute(query('{ thing(id: "a") { id } }', "viewer"));
      return echo.probe.requestIds;
    });
    expect(ids).toBe('["test-1"]');
  });
});

describe("a subscription gives the same results in process and over graphql-ws", () => {
  const watch = (as: keyof typeof headers, more: Partial<SubgraphRequest> = {}) =>
    query("subscription { thingEvents { type cursor timestamp thing { id broken } } }", as, more);
  const event = (id: string) => ({ type: "ADDED" as const, timestamp: new Date(0), cursor: `c-${id}`, object: thing(id) });

  async function firstSource({ echo }: Opened) {
    await until(() => echo.probe.sources.length === 1);
    return echo.probe.sources[0]!;
  }

  it("resolves each event with a context of its own", async () => {
    const answer = await alike(async (opened) => {
      const stream = opened.client.subscribe(watch("viewer"));
      const first = stream.next();
      const source = await firstSource(opened);
      source.push(event("a"));
      const results = [await first];
      source.push(event("b"));
      results.push(await stream.next());
      await stream.return?.();
      expect(opened.echo.probe.contexts).toBe(3);
      await until(() => source.returned === 1 && source.signal.aborted);
      return results;
    });
    expect(answer).toContain("c-b");
  });

  it.each([
    ["no token", "none", /UNAUTHENTICATED/],
    ["a forged token", "forged", /UNAUTHENTICATED/],
  ] as const)("refuses %s with one coded result", async (_name, as, code) => {
    const answer = await alike(async ({ client }) => {
      const stream = client.subscribe(watch(as));
      return [await stream.next(), await stream.next()];
    });
    expect(answer).toMatch(code);
    expect(answer).toMatch(/\{"done":true\}\]$/);
  });

  it("refuses a document that is not valid with one coded result", async () => {
    const answer = await alike(async ({ client }) => {
      const stream = client.subscribe(query("subscription { nothing }", "viewer"));
      return [await stream.next(), await stream.next()];
    });
    expect(answer).toContain("GRAPHQL_VALIDATION_FAILED");
  });

  it("answers a query that comes as a subscription", async () => {
    const answer = await alike(async ({ client }) => {
      const stream = client.subscribe(query('{ thing(id: "a") { id } }', "viewer"));
      return [await stream.next(), await stream.next()];
    });
    expect(answer).toContain('{\\"data\\":{\\"thing\\":{\\"id\\":\\"a\\"}}}');
  });

  it("ends with TOKEN_EXPIRED when the token does, also while it is quiet", async () => {
    const answer = await alike(async (opened) => {
      const short = await issuer.issue({ subject: "short", role: "viewer", ttlSeconds: 1 });
      const stream = opened.client.subscribe(watch("none", { headers: { authorization: `Bearer ${short}` } }));
      const results = [await stream.next(), await stream.next()];
      const source = opened.echo.probe.sources[0]!;
      await until(() => source.returned === 1 && source.signal.aborted);
      return results;
    });
    expect(answer).toContain("TOKEN_EXPIRED");
  });

  it("ends with DRAINING when the subgraph stops, and refuses what comes then", async () => {
    const answer = await alike(async (opened) => {
      const stream = opened.client.subscribe(watch("viewer"));
      const first = stream.next();
      const source = await firstSource(opened);
      await opened.echo.handler.drain(100);
      const results = [await first, await stream.next(), await opened.client.execute(query("{ __typename }", "viewer"))];
      await until(() => source.returned === 1);
      return results;
    });
    expect(answer.match(/DRAINING/g)).toHaveLength(2);
  });

  it("ends with the code that its source failed with", async () => {
    const answer = await alike(async (opened) => {
      const stream = opened.client.subscribe(watch("viewer"));
      const first = stream.next();
      const source = await firstSource(opened);
      source.fail(new FleetError("CURSOR_EXPIRED", "Too old: list again."));
      source.push(event("a"));
      return [await first, await stream.next(), await stream.next()];
    });
    expect(answer).toContain("CURSOR_EXPIRED");
  });

  it("frees a quiet source at once when its reader leaves", async () => {
    await alike(async (opened) => {
      const stream = opened.client.subscribe(watch("viewer"));
      const pending = stream.next();
      const source = await firstSource(opened);
      await stream.return?.();
      await until(() => source.returned === 1 && source.signal.aborted);
      return (await pending).done;
    });
  });

  it("frees a quiet source at once when its reader's signal aborts", async () => {
    await alike(async (opened) => {
      const reader = new AbortController();
      const stream = opened.client.subscribe(watch("viewer", { signal: reader.signal }));
      const pending = stream.next();
      const source = await firstSource(opened);
      reader.abort();
      await until(() => source.returned === 1);
      return (await pending).done;
    });
  });
});
