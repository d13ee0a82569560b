import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { grpcPair } from "../../../support/grpc-pair.ts";
import { until } from "../../../support/until.ts";

test("a reader that does not read makes the service wait, and gets everything in order once it does", async () => {
  const total = 20_000;
  let produced = 0;
  await using pair = await grpcPair({
    async *watchNodes() {
      for (; produced < total; produced += 1) yield { cursor: String(produced).padStart(1000) };
    },
  });
  const stream = pair.connect().watchNodes({})[Symbol.asyncIterator]();
  expect((await stream.next()).value?.cursor.trim()).toBe("0");
  // Until the service stands still.
  let before = -1;
  await until(async () => {
    const stands = produced === before;
    before = produced;
    await delay(100);
    return stands && produced === before;
  }, "the service to stand still");
  // What fits into the connection's windows and both sides' buffers of 16 messages: far from all.
  expect(produced).toBeLessThan(total / 10);
  for (let expected = 1; expected < total; expected += 1) {
    const { value } = await stream.next();
    if (value?.cursor.trim() !== String(expected)) throw new Error(`${value?.cursor} came instead of ${expected}`);
  }
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test("a slow stream does not hold up other calls on the same connection", async () => {
  await using pair = await grpcPair({
    async *watchNodes() {
      for (;;) yield { cursor: "x".repeat(10_000) };
    },
    getClusterInfo: async () => ({ clusterName: "here" }),
  });
  const client = pair.connect();
  const streams = Array.from({ length: 5 }, () => client.watchNodes({})[Symbol.asyncIterator]());
  await Promise.all(streams.map((stream) => stream.next()));
  expect(await client.getClusterInfo({})).toMatchObject({ clusterName: "here" });
  await Promise.all(streams.map((stream) => stream.return?.()));
  await until(async () => (await pair.metrics.text()).includes("grpc_server_open_streams 0"), "all streams to end");
});

test("a thousand streams that are opened and dropped leave nothing behind", async () => {
  let open = 0;
  await using pair = await grpcPair({
    async *watchNodes(_request, { fleet }) {
      open += 1;
      try {
        for (let cursor = 0; ; cursor += 1) {
          yield { cursor: String(cursor) };
          await delay(1000, undefined, { signal: fleet.signal });
        }
      } finally {
        open -= 1;
      }
    },
  });
  const client = pair.connect();
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        for await (const _ of client.watchNodes({})) break;
      }),
    );
  }
  await until(() => open === 0, "the service's iterators to end");
  await until(async () => (await pair.metrics.text()).includes("grpc_server_open_streams 0"));
});

test("a reader that never reads does not keep the service's iterator beyond its token", async () => {
  let returned = 0;
  let produced = 0;
  const expiresAt = Date.now() + 1500;
  await using pair = await grpcPair(
    {
      watchNodes: () => ({
        [Symbol.asyncIterator]: () => ({
          async next() {
            produced += 1;
            return { done: false as const, value: { cursor: "x".repeat(10_000) } };
          },
          async return() {
            returned += 1;
            return { done: true as const, value: undefined };
          },
        }),
      }),
    },
    { authenticate: () => ({ kind: "user", subject: "ann", role: "viewer", expiresAt }) },
  );
  const stream = pair.connect().watchNodes({})[Symbol.asyncIterator]();
  await stream.next();
  await until(() => returned === 1, "the iterator to be released");
  expect(produced).toBeLessThan(10_000);
  const reading = (async () => {
    for (;;) if ((await stream.next()).done) return;
  })();
  await expect(reading).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
});
