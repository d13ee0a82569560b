import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as h2connect } from "node:http2";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ServerTls } from "../../../../platform/grpc/server-tls.ts";
import { agentKeyPair, temporaryCa } from "../../../support/certificates.ts";
import { type GrpcPair, grpcPair } from "../../../support/grpc-pair.ts";
import { until } from "../../../support/until.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
beforeAll(async () => {
  home = await temporaryCa();
});
afterAll(() => home.remove());

const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const seed = process.env["SEED"] ?? randomBytes(4).toString("hex");

/** Sends bytes and closes; what comes back does not matter. */
async function send(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.end(bytes);
  socket.resume();
  await Promise.race([once(socket, "close"), new Promise((resolve) => setTimeout(resolve, 200))]);
  socket.destroy();
}

/** One raw call over HTTP/2: its status, and what gRPC says. */
async function raw(pair: GrpcPair, headers: Record<string, string>, body: Uint8Array): Promise<Record<string, unknown>> {
  const session = h2connect(`http://127.0.0.1:${pair.port}`);
  session.on("error", () => undefined);
  const stream = session.request({
    ":method": "POST",
    ":path": "/hypervisor.v1.ClusterService/GetClusterInfo",
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  const seen: Record<string, unknown> = {};
  stream.on("response", (received) => Object.assign(seen, received));
  stream.on("trailers", (received) => Object.assign(seen, received));
  stream.on("error", () => undefined);
  stream.resume();
  stream.end(body);
  await once(stream, "close");
  session.destroy();
  return seen;
}

function frame(message: Uint8Array, length = message.length, compressed = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(compressed, 0);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
}

describe.each(["plaintext", "mTLS"])("a %s port", (kind) => {
  async function pairOf(): Promise<{ pair: GrpcPair; works(): Promise<void> }> {
    const own = await agentKeyPair(home.ca, "agent-1");
    const tls = { caPem: home.ca.certificatePem, peerUri: "fleetgraph://control/x", ...own };
    const server = { ...(await home.ca.issueControl("x")), caPem: home.ca.certificatePem, clientCertificates: "optional" as const };
    const pair = await grpcPair(
      { getClusterInfo: async () => ({ clusterName: "ok" }) },
      { credentials: kind === "mTLS" ? new ServerTls(server) : null },
    );
    return {
      pair,
      async works() {
        expect(await pair.connect(kind === "mTLS" ? tls : null).getClusterInfo({})).toMatchObject({ clusterName: "ok" });
      },
    };
  }

  test(`survives bytes that are nothing (SEED=${seed})`, async () => {
    const { pair, works } = await pairOf();
    let state = Number.parseInt(seed, 16) || 1;
    const random = (below: number) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state % below;
    };
    for (let round = 0; round < 20; round += 1) {
      const noise = Buffer.from(Array.from({ length: random(2000) }, () => random(256)));
      await send(pair.port, round % 2 === 0 ? noise : Buffer.concat([Buffer.from(PREFACE), noise]));
    }
    await works();
    await pair[Symbol.asyncDispose]();
  });

  test("survives HTTP/1, TLS where there is none, and clients that just leave", async () => {
    const { pair, works } = await pairOf();
    await send(pair.port, Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    await send(pair.port, Buffer.from("1603010200010001fc0303", "hex"));
    await send(pair.port, Buffer.alloc(0));
    await Promise.all(Array.from({ length: 20 }, () => send(pair.port, Buffer.from(PREFACE))));
    await works();
    await pair[Symbol.asyncDispose]();
  });
});

describe("a request", () => {
  const methods = { getClusterInfo: async () => ({ clusterName: "ok" }), registerNode: async () => ({ nodeId: "n" }) };

  test("that is larger than the limit is refused, and the next one is served", async () => {
    await using pair = await grpcPair(methods, { maxRequestBytes: 10_000 });
    const client = pair.connect();
    await expect(client.registerNode({ hostname: "x".repeat(11_000) })).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await client.registerNode({ hostname: "x".repeat(9000) })).toMatchObject({ nodeId: "n" });
  });

  test("whose length is a lie is refused before it is read", async () => {
    await using pair = await grpcPair(methods);
    expect(await raw(pair, {}, frame(Buffer.from("abc"), 0xffffffff))).toMatchObject({ "grpc-status": "8" });
  });

  test("that unpacks to more than the limit is refused", async () => {
    const { gzipSync } = await import("node:zlib");
    await using pair = await grpcPair(methods, { maxRequestBytes: 100_000 });
    const bomb = gzipSync(Buffer.alloc(50_000_000));
    expect(bomb.length).toBeLessThan(100_000);
    expect(await raw(pair, { "grpc-encoding": "gzip" }, frame(bomb, bomb.length, 1))).toMatchObject({ "grpc-status": "8" });
    expect(await pair.connect().getClusterInfo({})).toMatchObject({ clusterName: "ok" });
  });

  test("that is cut off in the middle ends with its connection", async () => {
    await using pair = await grpcPair(methods);
    const session = h2connect(`http://127.0.0.1:${pair.port}`);
    session.on("error", () => undefined);
    const stream = session.request({
      ":method": "POST",
      ":path": "/hypervisor.v1.ClusterService/GetClusterInfo",
      "content-type": "application/grpc",
    });
    stream.on("error", () => undefined);
    stream.write(frame(Buffer.from("abc"), 1000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    session.destroy();
    expect(await pair.connect().getClusterInfo({})).toMatchObject({ clusterName: "ok" });
  });

  test.each([
    ["an empty body", {}, Buffer.alloc(0)],
    ["two messages in a call for one", {}, Buffer.concat([frame(Buffer.alloc(0)), frame(Buffer.alloc(0))])],
    ["an unknown compression", { "grpc-encoding": "zip9" }, frame(Buffer.from("x"), 1, 1)],
    ["a deadline that is none", { "grpc-timeout": "soon" }, frame(Buffer.alloc(0))],
    ["a method that is none", { ":path": "/hypervisor.v1.ClusterService/Nothing" }, frame(Buffer.alloc(0))],
    ["another content type", { "content-type": "text/html" }, frame(Buffer.alloc(0))],
    ["a name that every object has", { ":path": "/__proto__/constructor" }, frame(Buffer.alloc(0))],
  ])("with %s is refused", async (_what, headers, body) => {
    await using pair = await grpcPair(methods);
    const answer = await raw(pair, headers, body);
    expect(answer["grpc-status"] ?? answer[":status"]).not.toBe("0");
    expect(answer["grpc-status"] === undefined ? answer[":status"] : 200).not.toBe(answer["grpc-status"] === undefined ? 200 : 0);
    expect(await pair.connect().getClusterInfo({})).toMatchObject({ clusterName: "ok" });
  });

  test("beyond the number of streams that one connection may have waits for its turn", async () => {
    let running = 0;
    let most = 0;
    await using pair = await grpcPair(
      {
        async getClusterInfo() {
          running += 1;
          most = Math.max(most, running);
          await new Promise((resolve) => setTimeout(resolve, 5));
          running -= 1;
          return {};
        },
      },
      { maxConcurrentStreams: 4 },
    );
    const client = pair.connect();
    await client.getClusterInfo({});
    await Promise.all(Array.from({ length: 40 }, () => client.getClusterInfo({})));
    expect(most).toBeLessThanOrEqual(4);
  });
});

test("authentication that fails in an unexpected way is masked and opens nothing", async () => {
  let called = 0;
  await using pair = await grpcPair(
    {
      async getClusterInfo() {
        called += 1;
        return {};
      },
    },
    {
      authenticate() {
        throw new Error("database down at 10.0.0.1");
      },
    },
  );
  const failure = await pair
    .connect()
    .getClusterInfo({})
    .catch((error: Error) => error);
  expect(failure).toMatchObject({ code: "INTERNAL" });
  expect(String(failure)).not.toContain("10.0.0.1");
  expect(called).toBe(0);
  await until(() => pair.lines.some(({ level }) => level === "error"));
});
