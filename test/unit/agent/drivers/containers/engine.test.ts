import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ContainerEngine } from "../../../../../agent/drivers/containers/engine.ts";
import { jsonLines } from "../../../../../agent/drivers/containers/json-lines.ts";
import { until } from "../../../../support/until.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** What no engine should do, on a real socket. */
const ANSWERS: Record<string, Answer> = {
  "/good": (_, response) => response.end('{"a":1}'),
  "/nothing": (_, response) => response.writeHead(204).end(),
  "/_ping": (_, response) => response.writeHead(200, { server: "Libpod/9.9 (linux)", "libpod-api-version": "9.9" }).end("OK"),
  "/silent": () => undefined,
  "/half": (_, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write('{"a":');
    setImmediate(() => response.destroy());
  },
  "/garbage": (_, response) => response.end('{"a":'),
  "/refused": (_, response) =>
    response.writeHead(500).end('{"cause":"x","message":"no such thing: https://joe:hunter2@example.org","response":500}'),
  "/refused-in-half": (_, response) => {
    response.writeHead(500, { "content-length": 100 });
    response.write("{");
    setImmediate(() => response.destroy());
  },
  "/proxy": (_, response) => response.writeHead(502).end("<html>Bad gateway</html>"),
  "/hung-up": (_, response) => response.destroy(),
  "/stream": (_, response) => {
    response.write('{"n":1}\n');
  },
};

let dir: string;
let server: Server;
let engine: ContainerEngine;
const received: Array<{ url: string; body: string; type: string | undefined }> = [];
let open = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "fleetgraph-engine-"));
  server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    received.push({ url: (request.url ?? "").replace(/\?$/, ""), body, type: request.headers["content-type"] });
    ANSWERS[request.url?.split("?")[0] ?? ""]?.(request, response);
  });
  server.on("connection", (socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
  });
  await once(server.listen(join(dir, "engine.sock")), "listening");
  engine = new ContainerEngine(join(dir, "engine.sock"));
});
afterAll(async () => {
  engine.close();
  server.closeAllConnections();
  server.close();
  await rm(dir, { recursive: true, force: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const signal = new AbortController().signal;
const unavailable = (reason: string) => expect.objectContaining({ code: "UNAVAILABLE", reason });

describe("a call to the engine", () => {
  it("gives its answer", async () => {
    expect(await engine.get("/good", { signal })).toEqual({ a: 1 });
    expect(await engine.post("/nothing", { signal })).toBeUndefined();
    expect(await engine.hello({ signal })).toEqual({ server: "Libpod/9.9 (linux)", isPodman: true });
  });

  it("has its body in its body alone: addresses end up in logs", async () => {
    await engine.post("/good", { signal, query: { name: "inst-1", filters: { label: ["a"] } }, body: { Env: ["SECRET=x"] } });
    expect(received.at(-1)).toEqual({
      url: `/good?name=inst-1&filters=${encodeURIComponent('{"label":["a"]}')}`,
      body: '{"Env":["SECRET=x"]}',
      type: "application/json",
    });
    await engine.post("/nothing", { signal });
    expect(received.at(-1)).toMatchObject({ url: "/nothing", body: "" });
  });

  it("says what the engine refused, without passwords", async () => {
    await expect(engine.get("/refused", { signal })).rejects.toMatchObject({
      name: "EngineRefusal",
      status: 500,
      message: "no such thing: https://joe:[redacted]@example.org",
    });
    await expect(engine.get("/proxy", { signal })).rejects.toMatchObject({ name: "EngineRefusal", status: 502 });
  });

  it("ends when the answer breaks off, is none, or never comes", async () => {
    await expect(engine.get("/half", { signal })).rejects.toThrow(unavailable("EngineUnreachable"));
    await expect(engine.get("/refused-in-half", { signal })).rejects.toThrow(unavailable("EngineUnreachable"));
    await expect(engine.get("/garbage", { signal })).rejects.toThrow(unavailable("EngineUnreachable"));
    await expect(engine.get("/hung-up", { signal })).rejects.toThrow(unavailable("EngineUnreachable"));
    await expect(engine.get("/silent", { signal, timeoutMs: 20 })).rejects.toThrow(unavailable("EngineSilent"));
    await until(() => open === 0, "its connections to be closed");
  });

  it("ends when nobody wants it any more, and so does its connection", async () => {
    const caller = new AbortController();
    const call = engine.get("/silent", { signal: caller.signal });
    await until(() => received.at(-1)?.url === "/silent", "the call to arrive");
    caller.abort();
    await expect(call).rejects.toThrow(expect.objectContaining({ code: "CANCELLED" }));
    await expect(engine.get("/good", { signal: caller.signal })).rejects.toThrow(expect.objectContaining({ code: "CANCELLED" }));
    await until(() => open === 0, "its connection to be closed");
  });

  it("finds no engine where there is none", async () => {
    const nowhere = new ContainerEngine(join(dir, "nothing.sock"));
    await expect(nowhere.get("/good", { signal })).rejects.toMatchObject({ code: "UNAVAILABLE", cause: { code: "ENOENT" } });
    nowhere.close();
  });

  it("goes to the socket that was configured, whatever DOCKER_HOST says", async () => {
    vi.stubEnv("DOCKER_HOST", "tcp://127.0.0.1:1");
    vi.stubEnv("DOCKER_TLS_VERIFY", "1");
    vi.stubEnv("DOCKER_CLIENT_TIMEOUT", "1");
    const own = new ContainerEngine(join(dir, "engine.sock"));
    expect(await own.get("/good", { signal })).toEqual({ a: 1 });
    own.close();
  });
});

describe("an answer without an end", () => {
  it("is read as it comes, until the signal ends it", async () => {
    const caller = new AbortController();
    const stream = jsonLines<{ n: number }>(await engine.open("GET", "/stream", { signal: caller.signal }));
    expect(await stream.next()).toEqual({ done: false, value: { n: 1 } });
    const next = stream.next();
    caller.abort();
    await expect(next).rejects.toThrow(expect.objectContaining({ code: "CANCELLED" }));
    await until(() => open === 0, "its connection to be closed");
  });

  it("does not begin where the engine refuses it", async () => {
    await expect(engine.open("GET", "/refused", { signal })).rejects.toMatchObject({ status: 500 });
  });
});
