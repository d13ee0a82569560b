import { Metadata } from "nice-grpc";
import { describe, expect, test } from "vitest";
import { ERROR_TABLE, type ErrorCode } from "../../../../platform/errors/codes.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { createGrpcChannel } from "../../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../../platform/grpc/client.ts";
import { ClusterServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { grpcPair } from "../../../support/grpc-pair.ts";

/** What a client gets of an error that the service throws, from a call and from a stream. */
async function sent(thrown: unknown) {
  await using pair = await grpcPair({
    async getClusterInfo() {
      throw thrown;
    },
    async *watchNodes() {
      yield { cursor: "1" };
      throw thrown;
    },
  });
  const client = pair.connect();
  const fromCall = await client.getClusterInfo({}).catch((error: unknown) => error as FleetError);
  const fromStream = await toTheEnd(client.watchNodes({})).catch((error: unknown) => error as FleetError);
  if (!(fromCall instanceof FleetError) || !(fromStream instanceof FleetError)) throw new Error("no FleetError came");
  const { code, message, reason, details } = fromCall;
  expect(fromStream).toMatchObject({ code, message, reason, details });
  return { code, message, reason, details, lines: pair.lines, metrics: await pair.metrics.text() };
}

describe("an error that a service throws", () => {
  test.each(Object.keys(ERROR_TABLE) as ErrorCode[])("arrives as it was: %s", async (code) => {
    const details = { field: "hostname", nested: { nodes: ["ä", 1, null] } };
    const received = await sent(new FleetError(code, "50% of “this” failed:\nthe rest too", { reason: "SomeReason", details }));
    expect(received).toMatchObject({ code, message: "50% of “this” failed:\nthe rest too", reason: "SomeReason", details });
    expect(received.metrics).toContain(`grpc_method="GetClusterInfo",code="${code}"} 1`);
    expect(received.metrics).toContain(`grpc_method="WatchNodes",code="${code}"} 1`);
  });

  test("arrives without reason and details where it has none", async () => {
    expect(await sent(new FleetError("NOT_FOUND", "gone"))).toMatchObject({ code: "NOT_FOUND", reason: undefined, details: {} });
  });

  test("has a message that is no proper Unicode and too long", async () => {
    const { code, message } = await sent(new FleetError("CONFLICT", `\ud800${"x".repeat(100_000)}`));
    expect(code).toBe("CONFLICT");
    expect(message.length).toBeLessThan(5000);
  });

  test("has a reason that no header can hold", async () => {
    expect(await sent(new FleetError("CONFLICT", "x", { reason: "Öl\r\nx-evil: 1" }))).toMatchObject({
      code: "CONFLICT",
      reason: "?l??x-evil: 1",
    });
  });

  test("has details that are too many: what fits arrives, and says so", async () => {
    const reasons = Array.from({ length: 10_000 }, (_, index) => ({ node: `node-${index}`, reason: "InsufficientMemory" }));
    const { details } = await sent(new FleetError("FAILED_PRECONDITION", "no room", { details: { field: "x", reasons, last: true } }));
    expect(details).toMatchObject({ field: "x", last: true, truncated: true });
    expect((details.reasons as unknown[]).length).toBeGreaterThan(10);
    expect(details.reasons).toEqual(reasons.slice(0, (details.reasons as unknown[]).length));
  });

  test("has details that are no JSON: it arrives without them", async () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    expect(await sent(new FleetError("CONFLICT", "x", { details: circular }))).toMatchObject({ code: "CONFLICT", details: {} });
    expect(await sent(new FleetError("CONFLICT", "x", { details: { count: 1n } }))).toMatchObject({ code: "CONFLICT", details: {} });
  });

  test.each([new Error("connect ECONNREFUSED 10.1.2.3:5432"), "a string", undefined, null, { code: 5, details: "looks like a status" }])(
    "that is not meant for callers is masked, and logged: %s",
    async (thrown) => {
      const { lines, ...received } = await sent(thrown);
      expect(received.code).toBe("INTERNAL");
      expect(JSON.stringify(received)).not.toMatch(/ECONNREFUSED|a string|looks like/);
      const logged = lines.filter(({ level }) => level === "error");
      expect(logged).toHaveLength(2);
      expect(logged[0]).toMatchObject({ requestId: expect.any(String), method: "/hypervisor.v1.ClusterService/GetClusterInfo" });
      if (thrown instanceof Error) expect(JSON.stringify(logged[0])).toContain("ECONNREFUSED");
    },
  );

  test("of an abort or a time-out has the code for it", async () => {
    expect((await sent(AbortSignal.abort().reason)).code).toBe("CANCELLED");
    expect((await sent(new DOMException("late", "TimeoutError"))).code).toBe("DEADLINE_EXCEEDED");
  });
});

describe("a request that cannot be read", () => {
  test("with an integer beyond 2^53 is the client's mistake", async () => {
    await using pair = await grpcPair({ registerNode: async () => ({}) });
    // capacity.memory_bytes = 2^62, as other languages can send it.
    const resources = Buffer.from([0x10, ...varint(2n ** 62n)]);
    await expect(rawRegister(pair.address, field(7, resources))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(pair.lines.filter(({ level }) => level === "error")).toEqual([]);
  });

  test.each([
    ["ends too early", Buffer.from([0x0a, 0x7f, 0x01])],
    ["is noise", Buffer.from("ffffffffffffffffffffff", "hex")],
    ["has a string that is none", Buffer.from([0x0f])],
  ])("because it %s is the client's mistake", async (_how, bytes) => {
    await using pair = await grpcPair({ registerNode: async () => ({}) });
    await expect(rawRegister(pair.address, bytes)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "request" } });
  });
});

test("an answer that cannot be encoded is masked, and logged", async () => {
  await using pair = await grpcPair({ getClusterInfo: async () => ({ totalCapacity: { memoryBytes: 2 ** 80 } }) });
  await expect(pair.connect().getClusterInfo({})).rejects.toMatchObject({ code: "INTERNAL" });
  expect(pair.lines).toContainEqual(expect.objectContaining({ level: "error", msg: "an answer cannot be encoded" }));
});

describe("the request id", () => {
  test("that a client sends reaches the service, the log and the answer", async () => {
    const seen: unknown[] = [];
    await using pair = await grpcPair({
      async getClusterInfo(_request, { fleet }) {
        seen.push(fleet.requestId);
        fleet.log.info("hello");
        return {};
      },
    });
    const header: unknown[] = [];
    await pair
      .connect()
      .getClusterInfo({}, { metadata: Metadata({ "x-request-id": "abc-1" }), onHeader: (got) => header.push(got.get("x-request-id")) });
    expect(seen).toEqual(["abc-1"]);
    expect(header).toEqual(["abc-1"]);
    expect(pair.lines).toContainEqual(expect.objectContaining({ msg: "hello", requestId: "abc-1" }));
  });

  test("that is missing or could harm a log is made anew", async () => {
    const seen: string[] = [];
    await using pair = await grpcPair({
      async getClusterInfo(_request, { fleet }) {
        seen.push(fleet.requestId);
        return {};
      },
    });
    const client = pair.connect();
    await client.getClusterInfo({});
    await client.getClusterInfo({}, { metadata: Metadata({ "x-request-id": "a b" }) });
    await client.getClusterInfo({}, { metadata: Metadata({ "x-request-id": "x".repeat(1000) }) });
    expect(new Set(seen).size).toBe(3);
    for (const id of seen) expect(id).toMatch(/^[\w-]{16,36}$/);
  });
});

test("a call to nobody says so without an address", async () => {
  const channel = createGrpcChannel("127.0.0.1:1");
  const failure = await grpcClient(ClusterServiceDefinition, channel)
    .getClusterInfo({})
    .catch((error: unknown) => error as FleetError);
  expect(failure).toMatchObject({ code: "UNAVAILABLE" });
  expect((failure as FleetError).message).not.toMatch(/127|ECONN/);
  channel.close();
});

async function toTheEnd(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

/** RegisterNode with a request that is already encoded. */
function rawRegister(address: string, request: Buffer): Promise<unknown> {
  const { registerNode } = ClusterServiceDefinition.methods;
  const raw = { decode: () => ({}), encode: (bytes: Buffer) => ({ finish: () => bytes }) };
  const definition = { ...ClusterServiceDefinition, methods: { registerNode: { ...registerNode, requestType: raw } } };
  const channel = createGrpcChannel(address);
  return grpcClient(definition, channel)
    .registerNode(request as never)
    .finally(() => channel.close());
}

function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
