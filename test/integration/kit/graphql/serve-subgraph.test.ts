import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { LocalIssuer } from "../../../../platform/auth/local-issuer.ts";
import { type RunningServer, serveSubgraph } from "../../../../subgraphs/kit/graphql/serve.ts";
import type { SocketLimits } from "../../../../subgraphs/kit/graphql/sockets.ts";
import { createEchoSubgraph, thing } from "../../../support/echo-subgraph.ts";
import { until } from "../../../support/until.ts";

let keyDir: string;
let issuer: LocalIssuer;
let authorization: string;
const running: RunningServer[] = [];

beforeAll(async () => {
  keyDir = await mkdtemp(join(tmpdir(), "fg-serve-"));
  issuer = await LocalIssuer.open(keyDir);
  authorization = `Bearer ${await issuer.issue({ subject: "viewer", role: "viewer", ttlSeconds: 3600 })}`;
});

afterEach(async () => {
  for (const server of running.splice(0)) await server.stop(200);
});

afterAll(() => rm(keyDir, { recursive: true, force: true }));

async function start(options: { sockets?: Partial<SocketLimits>; ready?: () => boolean; inFlight?: number } = {}) {
  const echo = createEchoSubgraph(issuer.verifier(), { inFlight: options.inFlight ?? 100 });
  const server = await serveSubgraph(echo.handler, {
    host: "127.0.0.1",
    port: 0,
    log: echo.log,
    metrics: echo.metrics,
    ...(options.sockets ? { sockets: options.sockets } : {}),
    ...(options.ready ? { ready: options.ready } : {}),
  });
  running.push(server);
  return { echo, server, base: server.url.replace("/graphql", "") };
}

function post(url: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json", authorization, ...headers }, body });
}

/** Far above the server's limit, and above what two ends of a connection hold for a reader that has stopped. */
const ENDLESS_BYTES = 64 * 1024 * 1024;

/**
 * POSTs spaces in chunks until an answer or a cut. Not by fetch: where its connection is cut, undici 7.29 reads on and throws away what it
 * reads, without ever giving way to another task. An endless body then fills the memory, and no timeout can end it.
 */
async function postWithoutLength(url: string): Promise<{ answer: number | "cut" | undefined; sentBytes: number }> {
  const chunk = Buffer.alloc(64 * 1024, " ");
  let sentBytes = 0;
  const body = function* () {
    for (; sentBytes < ENDLESS_BYTES; sentBytes += chunk.length) yield chunk;
  };
  const outgoing = request(url, { method: "POST", headers: { "content-type": "application/json" } });
  const answered = new Promise<number | "cut" | undefined>((resolve) => {
    outgoing.once("response", (response) => resolve(response.resume().statusCode));
    outgoing.once("error", () => resolve("cut"));
  });
  const sending = pipeline(body, outgoing).catch(() => undefined);
  const answer = await answered;
  outgoing.destroy();
  await sending;
  return { answer, sentBytes };
}

/** A socket that speaks the protocol by hand. */
async function openSocket(url: string, init: unknown = { authorization }) {
  const socket = new WebSocket(url.replace("http", "ws"), "graphql-transport-ws");
  const messages: Array<{ type: string; id?: string; payload?: unknown }> = [];
  socket.on("message", (data) => messages.push(JSON.parse(String(data))));
  await once(socket, "open");
  if (init !== null) {
    socket.send(JSON.stringify({ type: "connection_init", payload: init }));
    await until(() => messages.length === 1);
  }
  return { socket, messages, send: (message: unknown) => socket.send(JSON.stringify(message)) };
}

const subscribeMessage = (id: string) => ({
  id,
  type: "subscribe",
  payload: { query: "subscription { thingEvents { cursor thing { broken } } }" },
});

it("refuses what is not a JSON POST, with a body that says why", async () => {
  const { server } = await start();
  const answers = [
    await fetch(server.url),
    await fetch(server.url, { method: "POST", body: "query=x", headers: { "content-type": "application/x-www-form-urlencoded" } }),
    await post(server.url, "{"),
    await post(server.url, "[]"),
    await post(server.url, '{"query": 1}'),
    await post(server.url, '{"query": "{ __typename }", "variables": []}'),
    await post(server.url, JSON.stringify({ query: "x".repeat(1024 * 1024) })),
  ];
  expect(answers.map((answer) => answer.status)).toEqual([405, 415, 400, 400, 400, 400, 413]);
  for (const answer of answers) expect(await answer.json()).toMatchObject({ errors: [{ extensions: { code: "BAD_REQUEST" } }] });
});

it("cuts a body that grows beyond its limit without a content-length", async () => {
  const { server } = await start();
  const { answer, sentBytes } = await postWithoutLength(server.url);
  expect([413, "cut"]).toContain(answer);
  expect(sentBytes).toBeLessThan(ENDLESS_BYTES);
});

it("echoes the request id, and makes one where the caller's is not usable", async () => {
  const { server } = await start();
  const echoed = await post(server.url, '{"query": "{ __typename }"}', { "x-request-id": "abc" });
  const made = await post(server.url, '{"query": "{ __typename }"}', { "x-request-id": "a b\tc" });
  expect(echoed.headers.get("x-request-id")).toBe("abc");
  expect(made.headers.get("x-request-id")).toMatch(/^[\w-]{16,36}$/);
});

it("tells health, readiness and metrics", async () => {
  let isReady = false;
  const { server, base } = await start({ ready: () => isReady });
  expect((await fetch(`${base}/healthz`)).status).toBe(200);
  expect((await fetch(`${base}/readyz`)).status).toBe(503);
  isReady = true;
  expect((await fetch(`${base}/readyz`)).status).toBe(200);
  await post(server.url, '{"query": "{ nothing }"}');
  const metrics = await (await fetch(`${base}/metrics`)).text();
  expect(metrics).toContain('fleetgraph_subgraph_requests_total{subgraph="echo",code="GRAPHQL_VALIDATION_FAILED"} 1');
  expect((await fetch(`${base}/other`)).status).toBe(404);
});

it("refuses requests above what it may have in flight", async () => {
  const { server } = await start({ inFlight: 1 });
  const slow = post(server.url, '{"query": "{ slow(ms: 300) }"}');
  const bodies: string[] = [];
  await until(async () => {
    const body = await (await post(server.url, '{"query": "{ __typename }"}')).text();
    bodies.push(body);
    return body.includes("RESOURCE_EXHAUSTED");
  });
  expect(bodies.at(-1)).toContain('"code":"RESOURCE_EXHAUSTED","reason":"Overloaded"');
  expect(await (await slow).text()).toBe('{"data":{"slow":"done"}}');
});

it("finishes what is in flight when it stops", async () => {
  const { server, echo } = await start();
  const slow = post(server.url, '{"query": "{ slow(ms: 200) }"}');
  await until(() => echo.probe.contexts === 1);
  await server.stop(5000);
  expect(await (await slow).text()).toBe('{"data":{"slow":"done"}}');
});

it("closes a socket that does not introduce itself in time", async () => {
  const { server } = await start({ sockets: { connectionInitMs: 50 } });
  const { socket } = await openSocket(server.url, null);
  const [code] = await once(socket, "close");
  expect(code).toBe(4408);
});

it("refuses sockets of browsers, of other paths, and above the limit", async () => {
  const { server, base } = await start({ sockets: { sockets: 1 } });
  const statusOf = (url: string, options = {}) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url.replace("http", "ws"), "graphql-transport-ws", options);
      socket.on("unexpected-response", (_request, response) => resolve(response.statusCode));
      socket.on("open", () => resolve("open"));
      socket.on("error", () => undefined);
    });
  expect(await statusOf(server.url, { origin: "https://evil.example" })).toBe(403);
  expect(await statusOf(`${base}/other`)).toBe(404);
  expect(await statusOf(server.url)).toBe("open");
  expect(await statusOf(server.url)).toBe(503);
});

it("bounds the operations of a socket and takes new ones when others end", async () => {
  const { server, echo } = await start({ sockets: { operations: 2 } });
  const { messages, send } = await openSocket(server.url);
  for (const id of ["1", "2"]) send(subscribeMessage(id));
  await until(() => echo.probe.sources.length === 2);
  send(subscribeMessage("3"));
  await until(() => messages.some(({ id, type }) => id === "3" && type === "complete"));
  expect(JSON.stringify(messages.find(({ id }) => id === "3"))).toContain("RESOURCE_EXHAUSTED");
  send({ id: "1", type: "complete" });
  await until(() => echo.probe.sources.some((source) => source.returned === 1));
  send(subscribeMessage("4"));
  await until(() => echo.probe.sources.length === 3);
});

it("frees every source when a socket is cut", async () => {
  const { server, echo } = await start();
  const { socket, send } = await openSocket(server.url);
  for (const id of ["1", "2", "3"]) send(subscribeMessage(id));
  await until(() => echo.probe.sources.length === 3);
  socket.terminate();
  await until(() => echo.probe.sources.every((source) => source.returned === 1 && source.signal.aborted));
});

it("stops pulling for a reader that does not drain, and ends it with SLOW_CONSUMER", async () => {
  const { server, echo } = await start({ sockets: { bufferedBytes: 64 * 1024, slowConsumerMs: 300 } });
  const { socket, send } = await openSocket(server.url);
  send(subscribeMessage("1"));
  await until(() => echo.probe.sources.length === 1);
  const source = echo.probe.sources[0];
  if (!source) throw new Error("no source");
  socket.pause();
  const big = { ...thing("a"), broken: "x".repeat(64 * 1024) };
  for (let index = 0; index < 1000; index += 1) source.push({ type: "MODIFIED", timestamp: new Date(0), cursor: `${index}`, object: big });
  await until(() => source.returned === 1);
  expect(source.pulled).toBeLessThan(900);
  const closed = once(socket, "close");
  socket.resume();
  expect([4429, 1006]).toContain((await closed)[0]);
});

it("closes a socket whose other end is gone without a word", async () => {
  const { server, echo } = await start({ sockets: { pingMs: 50 } });
  const { hostname, port } = new URL(server.url);
  const raw = connect(Number(port), hostname);
  raw.write(
    `GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${Buffer.alloc(16).toString("base64")}\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n`,
  );
  raw.resume();
  await once(raw, "close");
  expect(echo.probe.sources).toHaveLength(0);
});
