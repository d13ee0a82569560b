import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { parseKubeconfig } from "../../../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { type KubernetesClientOptions, openKubernetes } from "../../../../subgraphs/kit/kubernetes/kubernetes-client.ts";
import { type KubernetesApi, type KubernetesObject, NODES, PODS, type WatchLine } from "../../../../subgraphs/kit/kubernetes/types.ts";
import { writeKubeconfig } from "../../../support/kubernetes/kubeconfig.ts";
import { listen, NotKubernetes } from "../../../support/kubernetes/odd-servers.ts";

const log = createLogger({ name: "test", level: "silent" });
const never = new AbortController().signal;
const VERSION = '{"gitVersion":"v1.31.4","major":"1","minor":"31","platform":"linux/arm64"}';

const ending: Array<() => Promise<unknown>> = [];

afterEach(async () => {
  for (const end of ending.splice(0).reverse()) await end();
});

/** A client of a server that answers so. */
async function clientOf(answer: RequestListener, options: Partial<KubernetesClientOptions> = {}, path = ""): Promise<KubernetesApi> {
  const server = await NotKubernetes.start({ answer });
  ending.push(() => server[Symbol.asyncDispose]());
  const access = parseKubeconfig(writeKubeconfig({ server: server.url + path, caPem: server.caPem, credentials: { token: "t" } })).access(
    null,
  );
  const api = openKubernetes(access, { log, ...options });
  ending.push(() => api.close());
  return api;
}

function status(code: number, reason: string, message: string): string {
  return JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message });
}

function pod(name: string): { type: string; object: object } {
  return { type: "ADDED", object: { metadata: { name, uid: name, resourceVersion: "7" } } };
}

async function read(lines: AsyncIterable<WatchLine<KubernetesObject>>): Promise<string[]> {
  const names: string[] = [];
  for await (const { object } of lines) names.push(object.metadata.name);
  return names;
}

describe("requests", () => {
  it("go below the server's path, with the login and what is asked for", async () => {
    const seen: unknown[] = [];
    const api = await clientOf(
      ({ method, url, headers }, response) => {
        seen.push([method, url, headers.authorization, headers.accept]);
        response.end('{"metadata":{"resourceVersion":"1"},"items":null}');
      },
      {},
      "/k8s/clusters/c-1/",
    );
    const list = await api.list(PODS, { signal: never, namespace: "a", labelSelector: "x=ü&y", limit: 3, metadataOnly: true });
    expect(list).toEqual({ items: [], resourceVersion: "1", continueToken: null, remainingItemCount: null });
    const path = "/k8s/clusters/c-1/api/v1/namespaces/a/pods?limit=3&labelSelector=x%3D%C3%BC%26y";
    const accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
    expect(seen).toEqual([["GET", path, "Bearer t", accept]]);
    await expect(api.list(PODS, { signal: never, namespace: "../secrets" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("share a few connections, in turn", async () => {
    let [now, most] = [0, 0];
    const sockets = new Set<unknown>();
    const api = await clientOf(
      async (request, response) => {
        sockets.add(request.socket);
        now += 1;
        most = Math.max(most, now);
        await new Promise((resolve) => setTimeout(resolve, 5));
        now -= 1;
        response.end(VERSION);
      },
      { connections: 3 },
    );
    await Promise.all(Array.from({ length: 30 }, () => api.version({ signal: never })));
    expect([most, sockets.size]).toEqual([3, 3]);
  });

  it.each([
    ["GET", 2],
    ["POST", 1],
  ] as const)("%s is sent %i times at most where connections die before the answer", async (method, times) => {
    let sent = 0;
    const api = await clientOf((request) => {
      sent += 1;
      request.socket.destroy();
    });
    const asking = method === "GET" ? api.get("/x", { signal: never }) : api.write("POST", "/x", { signal: never, body: {} });
    await expect(asking).rejects.toMatchObject({ code: "UNAVAILABLE", step: "REQUEST", reason: "ConnectionLost" });
    expect(sent).toBe(times);
  });

  it("succeed on a new connection where a kept one is dead", async () => {
    const sockets: unknown[] = [];
    const api = await clientOf(
      ({ socket }, response) => {
        sockets.push(socket);
        if (sockets.length === 2) socket.destroy();
        else response.end(VERSION);
      },
      { connections: 1 },
    );
    await api.version({ signal: never });
    await expect(api.version({ signal: never })).resolves.toMatchObject({ gitVersion: "v1.31.4" });
    expect(sockets).toHaveLength(3);
    expect(sockets[1]).toBe(sockets[0]);
  });

  it("end at their deadline also when an answer comes in drops", async () => {
    const dripping = new Set<NodeJS.Timeout>();
    ending.push(async () => dripping.forEach(clearInterval));
    const api = await clientOf((_request, response) => {
      response.writeHead(200);
      dripping.add(setInterval(() => response.write(" "), 20));
    });
    await expect(api.get("/x", { signal: never, timeoutMs: 200 })).rejects.toMatchObject({ step: "REQUEST", reason: "RequestTimeout" });
  });

  it("are counted while they come", async () => {
    const api = await clientOf((_request, response) => response.end(JSON.stringify({ text: "x".repeat(2_000) })));
    await expect(api.get("/x", { signal: never, maxBytes: 1_000 })).rejects.toMatchObject({ reason: "TooLarge" });
    await expect(api.text("/x", { signal: never, maxBytes: 1_000 })).rejects.toMatchObject({ reason: "TooLarge" });
    await expect(api.get("/x", { signal: never })).resolves.toBeTypeOf("object");
  });

  it("break off as ConnectionLost where an answer is cut", async () => {
    const api = await clientOf((_request, response) => {
      response.writeHead(200, { "content-length": "1000" });
      response.write('{"a":', () => response.destroy());
    });
    await expect(api.get("/x", { signal: never })).rejects.toMatchObject({ reason: "ConnectionLost" });
  });

  it.each([
    [429, "TooManyRequests", "UNAVAILABLE", "TooManyRequests"],
    [503, "ServiceUnavailable", "UNAVAILABLE", "ServerError"],
  ])("tell when to come back (%i)", async (code, said, ourCode, reason) => {
    const api = await clientOf((_request, response) =>
      response.writeHead(code, { "retry-after": "7" }).end(status(code, said, "slow down")),
    );
    await expect(api.get("/x", { signal: never })).rejects.toMatchObject({
      code: ourCode,
      reason,
      status: code,
      details: { step: "REQUEST", retryAfterSeconds: 7 },
    });
  });

  it("give up while they wait in line, and when the client is closed", async () => {
    const api = await clientOf(() => {}, { connections: 1 });
    const first = api.get("/x", { signal: never });
    const over = new AbortController();
    const second = api.get("/y", { signal: over.signal });
    over.abort();
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(api.get("/z", { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELLED" });
    const [watching, closing] = [api.watch(NODES, { resourceVersion: "1", signal: never }).next(), api.close()];
    await expect(first).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "Closed" });
    await expect(watching).rejects.toMatchObject({ reason: "Closed" });
    await closing;
    await expect(api.get("/x", { signal: never })).rejects.toMatchObject({ reason: "Closed" });
  });
});

describe("a connection", () => {
  it("goes through a proxy, which sees nothing but where to", async () => {
    const asked: unknown[] = [];
    const proxy = createServer().on("connect", ({ url, headers }, socket: Socket, head) => {
      asked.push([url, headers.authorization, head.length]);
      const onward = connect(Number(url?.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
        socket.pipe(onward).pipe(socket);
      });
      for (const end of [socket, onward]) end.on("error", () => {});
    });
    const port = await listen(proxy);
    ending.push(() => new Promise((resolve) => proxy.close(resolve)));
    const server = await NotKubernetes.start({ answer: (_request, response) => response.end(VERSION) });
    ending.push(() => server[Symbol.asyncDispose]());
    const cluster = { "proxy-url": `http://127.0.0.1:${port}` };
    const kubeconfig = writeKubeconfig({ server: server.url, caPem: server.caPem, credentials: { token: "t" }, cluster });
    const api = openKubernetes(parseKubeconfig(kubeconfig).access(null), { log });
    await expect(api.version({ signal: never })).resolves.toMatchObject({ minor: "31" });
    expect(asked).toEqual([[new URL(server.url).host, undefined, 0]]);
    await api.close();
  });

  it("tries each address of a name, and sends the name", async () => {
    let sent: unknown;
    const server = await NotKubernetes.start({
      answer: ({ socket, headers }, response) => {
        sent = [(socket as TLSSocket & { servername: unknown }).servername, headers.host];
        response.end(VERSION);
      },
    });
    ending.push(() => server[Symbol.asyncDispose]());
    const url = server.url.replace("127.0.0.1", "localhost");
    const kubeconfig = parseKubeconfig(writeKubeconfig({ server: url, caPem: server.caPem }));
    const lookup = async () => ["127.0.0.2", "127.0.0.1"].map((address) => ({ address, family: 4 }));
    const api = openKubernetes(kubeconfig.access(null), { log, lookup });
    await expect(api.version({ signal: never })).resolves.toMatchObject({ minor: "31" });
    expect(sent).toEqual(["localhost", new URL(url).host]);
    await api.close();
  });
});

describe("a watch", () => {
  it("reads lines however they are cut", async () => {
    const text = Buffer.from([pod("one"), pod("zwölf"), pod("three")].map((line) => `${JSON.stringify(line)}\n`).join(""));
    const api = await clientOf(async (_request, response) => {
      for (let at = 0; at < text.length; at += 7) {
        response.write(text.subarray(at, at + 7));
        await new Promise(setImmediate);
      }
      response.end('{"type":"ADDED","obj');
    });
    expect(await read(api.watch(PODS, { resourceVersion: "1", signal: never }))).toEqual(["one", "zwölf", "three"]);
  });

  it("asks for bookmarks, and for an end of its own between 300 and 600 s", async () => {
    const queries: URLSearchParams[] = [];
    const api = await clientOf(({ url }, response) => {
      queries.push(new URL(url ?? "", "https://x").searchParams);
      response.end();
    });
    for (let time = 0; time < 5; time += 1) await read(api.watch(PODS, { resourceVersion: "4", signal: never }));
    for (const query of queries) {
      expect(Object.fromEntries(query)).toMatchObject({ watch: "true", allowWatchBookmarks: "true", resourceVersion: "4" });
      expect(Number(query.get("timeoutSeconds"))).toSatisfy((seconds: number) => seconds >= 300 && seconds <= 600);
    }
    expect(new Set(queries.map((query) => query.get("timeoutSeconds"))).size).toBeGreaterThan(1);
  });

  it.each([
    [
      { type: "ERROR", object: JSON.parse(status(410, "Expired", "too old resource version")) },
      { code: "CURSOR_EXPIRED", isGone: true },
    ],
    [
      { type: "ERROR", object: JSON.parse(status(500, "InternalError", "etcd")) },
      { code: "UNAVAILABLE", reason: "ServerError" },
    ],
    [
      { type: "SURPRISE", object: {} },
      { code: "UNAVAILABLE", reason: "NotKubernetes" },
    ],
    [[], { code: "UNAVAILABLE", reason: "NotKubernetes" }],
    [null, { code: "UNAVAILABLE", reason: "NotKubernetes" }],
    [{ ...pod("x".repeat(3_000)) }, { reason: "TooLarge" }],
  ])("ends with the error that line %# stands for", async (line, expected) => {
    const api = await clientOf((_request, response) => response.end(`${JSON.stringify(pod("one"))}\n${JSON.stringify(line)}\n`), {
      maxLineBytes: 2_000,
    });
    const lines = api.watch(PODS, { resourceVersion: "1", signal: never });
    expect((await lines.next()).value).toEqual(pod("one"));
    await expect(lines.next()).rejects.toMatchObject(expected);
  });

  it("gives up a line without an end", async () => {
    const api = await clientOf((_request, response) => void response.write("x".repeat(100_000)), { maxLineBytes: 2_000 });
    await expect(read(api.watch(PODS, { resourceVersion: "1", signal: never }))).rejects.toMatchObject({ reason: "TooLarge" });
  });

  it("lets go of its connection when it is left, aborted or closed", async () => {
    const sockets = new Set<TLSSocket>();
    const api = await clientOf(({ socket }, response) => {
      sockets.add(socket as TLSSocket);
      socket.on("close", () => sockets.delete(socket as TLSSocket));
      response.write(`${JSON.stringify(pod("one"))}\n`);
    });
    for await (const _ of api.watch(PODS, { resourceVersion: "1", signal: never })) break;
    await expect.poll(() => sockets.size).toBe(0);

    const over = new AbortController();
    const names: string[] = [];
    for await (const { object } of api.watch(PODS, { resourceVersion: "1", signal: over.signal })) {
      names.push(object.metadata.name);
      over.abort();
    }
    expect(names).toEqual(["one"]);
    await expect.poll(() => sockets.size).toBe(0);

    const lines = api.watch(PODS, { resourceVersion: "1", signal: never });
    await lines.next();
    const closing = api.close();
    await expect(lines.next()).rejects.toMatchObject({ reason: "Closed" });
    await closing;
    await expect.poll(() => sockets.size).toBe(0);
  });

  it("that is silent past its deadline is given up", async () => {
    const api = await clientOf((_request, response) => response.writeHead(200).flushHeaders(), { watchGraceMs: 200 });
    const silent = read(api.watch(PODS, { resourceVersion: "1", signal: never, timeoutSeconds: 0 }));
    await expect(silent).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "RequestTimeout" });
  });

  it("does not take a connection from requests", async () => {
    const api = await clientOf(
      ({ url }, response) => {
        if (url === "/version") response.end(VERSION);
        else response.writeHead(200).flushHeaders();
      },
      { connections: 1 },
    );
    const over = new AbortController();
    const watches = Array.from({ length: 20 }, () => read(api.watch(PODS, { resourceVersion: "1", signal: over.signal })));
    await expect(api.version({ signal: never })).resolves.toMatchObject({ minor: "31" });
    over.abort();
    await expect(Promise.all(watches)).resolves.toHaveLength(20);
  });
});

describe("a stream", () => {
  it("comes as it is written, slower where nobody reads, and ends with the signal", async () => {
    let written = 0;
    const api = await clientOf(async (_request, response) => {
      const chunk = Buffer.alloc(64 * 1024, "x");
      const closed = new AbortController();
      response.once("close", () => closed.abort());
      while (!response.destroyed && written < 1024) {
        written += 1;
        if (!response.write(chunk)) await once(response, "drain", { signal: closed.signal }).catch(() => undefined);
      }
    });
    const over = new AbortController();
    const stream = await api.stream("/log", { signal: over.signal });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(written).toBeLessThan(512);
    let bytes = 0;
    for await (const chunk of stream) {
      bytes += chunk.length;
      if (bytes > 1024 * 1024) over.abort();
    }
    expect(bytes).toBeGreaterThan(1024 * 1024);
  });

  it("fails as a request does, before it begins", async () => {
    const api = await clientOf((_request, response) => response.writeHead(404).end(status(404, "NotFound", 'pods "x" not found')));
    const opening = api.stream("/log", { signal: never });
    await expect(opening).rejects.toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining('pods "x" not found') });
  });
});
