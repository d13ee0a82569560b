import { once } from "node:events";
import { describe, expect, test } from "vitest";
import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FleetContext } from "../../../../platform/grpc/call-context.ts";
import { grpcPair } from "../../../support/grpc-pair.ts";
import { until } from "../../../support/until.ts";

/** A method that waits for its signal, and tells what it saw. */
function waiting() {
  const seen: { started: number; reasons: FleetError[]; deadlines: Array<number | null> } = { started: 0, reasons: [], deadlines: [] };
  return {
    seen,
    async method(_request: unknown, { fleet }: FleetContext) {
      seen.started += 1;
      seen.deadlines.push(fleet.deadlineAt === null ? null : fleet.deadlineAt - performance.now());
      if (!fleet.signal.aborted) await once(fleet.signal, "abort");
      seen.reasons.push(fleet.signal.reason);
      throw fleet.signal.reason;
    },
  };
}

describe("a call with one answer", () => {
  test("is ended on both sides when the client's deadline passes", async () => {
    const { seen, method } = waiting();
    await using pair = await grpcPair({ getClusterInfo: method });
    await expect(pair.connect().getClusterInfo({}, { deadlineMs: 80 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await until(() => seen.reasons.length === 1, "the handler to be told");
    expect(seen.reasons[0]).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(seen.deadlines[0]).toBeLessThanOrEqual(80);
  });

  test("has the client's default deadline, which one call can lift", async () => {
    const { seen, method } = waiting();
    await using pair = await grpcPair({ getClusterInfo: method });
    const client = pair.connect(null, { defaultDeadlineMs: 60 });
    await expect(client.getClusterInfo({})).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    const controller = new AbortController();
    const unlimited = client.getClusterInfo({}, { deadlineMs: null, signal: controller.signal });
    await until(() => seen.started === 2);
    // The server's own limit holds then.
    expect(seen.deadlines[1]).toBeGreaterThan(50_000);
    controller.abort();
    await expect(unlimited).rejects.toMatchObject({ code: "CANCELLED" });
  });

  test("that brings no deadline gets the server's, also where the service does not listen", async () => {
    await using pair = await grpcPair({ getClusterInfo: () => new Promise(() => undefined) }, { defaultDeadlineMs: 60 });
    await expect(pair.connect().getClusterInfo({}, { deadlineMs: null })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  test("ends for the client also where the server never answers", async () => {
    const { createServer } = await import("node:net");
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { createGrpcChannel } = await import("../../../../platform/grpc/channel.ts");
    const { grpcClient } = await import("../../../../platform/grpc/client.ts");
    const { ClusterServiceDefinition } = await import("../../../../schema/generated/proto/hypervisor/v1/cluster.ts");
    const channel = createGrpcChannel(`127.0.0.1:${(silent.address() as { port: number }).port}`);
    await expect(grpcClient(ClusterServiceDefinition, channel).getClusterInfo({}, { deadlineMs: 60 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    channel.close();
    silent.close();
  });

  test("that the client cancels reaches the handler", async () => {
    const { seen, method } = waiting();
    await using pair = await grpcPair({ getClusterInfo: method });
    const controller = new AbortController();
    const call = pair.connect().getClusterInfo({}, { signal: controller.signal });
    await until(() => seen.started === 1);
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => seen.reasons.length === 1, "the handler to be told");
    expect(seen.reasons[0]).toMatchObject({ code: "CANCELLED" });
  });

  test("that is cancelled before it begins is not made", async () => {
    const { seen, method } = waiting();
    await using pair = await grpcPair({ getClusterInfo: method });
    await expect(pair.connect().getClusterInfo({}, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "CANCELLED" });
    expect(seen.started).toBe(0);
  });

  test("that is made for another request has its id, what is left of its deadline, and its signal", async () => {
    const ids: string[] = [];
    const { seen, method } = waiting();
    await using pair = await grpcPair({
      getClusterInfo(request, context) {
        ids.push(context.fleet.requestId);
        return method(request, context) as Promise<never>;
      },
    });
    const controller = new AbortController();
    const context = { requestId: "outer-1", deadlineAt: performance.now() + 5000, signal: controller.signal };
    const call = pair.connect().getClusterInfo({}, { context });
    await until(() => seen.started === 1);
    expect(ids).toEqual(["outer-1"]);
    expect(seen.deadlines[0]).toBeLessThanOrEqual(5000);
    controller.abort();
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(
      pair.connect().getClusterInfo({}, { context: { ...context, signal: new AbortController().signal, deadlineAt: 0 } }),
    ).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
  });
});

describe("a stream", () => {
  test("that is quiet ends on both sides when the client ends it", async () => {
    let finished = 0;
    await using pair = await grpcPair({
      async *watchNodes(_request, { fleet }) {
        try {
          yield { cursor: "1" };
          await once(fleet.signal, "abort");
        } finally {
          finished += 1;
        }
      },
    });
    const stream = pair.connect().watchNodes({})[Symbol.asyncIterator]();
    expect((await stream.next()).value).toMatchObject({ cursor: "1" });
    const waiting = stream.next();
    await stream.return?.();
    expect(await waiting).toEqual({ done: true, value: undefined });
    await until(() => finished === 1, "the service's iterator to end");
    expect(await pair.metrics.text()).toContain("grpc_server_open_streams 0");
  });

  test("ends for the service at once where its iterator only knows `return`", async () => {
    let returned = 0;
    await using pair = await grpcPair({
      watchNodes: () => ({
        [Symbol.asyncIterator]: () => ({
          next: () => new Promise<never>(() => undefined),
          async return() {
            returned += 1;
            return { done: true as const, value: undefined };
          },
        }),
      }),
    });
    const controller = new AbortController();
    const next = pair.connect().watchNodes({}, { signal: controller.signal })[Symbol.asyncIterator]().next();
    await until(async () => (await pair.metrics.text()).includes("grpc_server_open_streams 1"));
    controller.abort();
    await expect(next).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => returned === 1, "the service's iterator to be returned");
    await until(async () => (await pair.metrics.text()).includes("grpc_server_open_streams 0"));
  });

  test("ends with its deadline where it has one, and lives beyond the default for single answers", async () => {
    const deadlines: Array<number | null> = [];
    await using pair = await grpcPair({
      async *watchNodes(_request, { fleet }) {
        deadlines.push(fleet.deadlineAt);
        await new Promise((resolve) => setTimeout(resolve, 150));
        yield { cursor: "late" };
      },
    });
    const client = pair.connect(null, { defaultDeadlineMs: 50 });
    expect((await client.watchNodes({})[Symbol.asyncIterator]().next()).value).toMatchObject({ cursor: "late" });
    expect(deadlines).toEqual([null]);
    await expect(client.watchNodes({}, { deadlineMs: 50 })[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
  });

  test("ends with TOKEN_EXPIRED when the token of its user does", async () => {
    const expiresAt = Date.now() + 150;
    await using pair = await grpcPair(
      {
        async *watchNodes(_request, { fleet }) {
          yield { cursor: "1" };
          await once(fleet.signal, "abort");
        },
      },
      { authenticate: () => ({ kind: "user", subject: "ann", role: "viewer", expiresAt }) },
    );
    const received: string[] = [];
    const reading = (async () => {
      for await (const { cursor } of pair.connect().watchNodes({})) received.push(cursor);
    })();
    await expect(reading).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
    expect(received).toEqual(["1"]);
  });
});

describe("a server that stops", () => {
  test("ends streams with DRAINING and lets calls finish", async () => {
    let release: (() => void) | undefined;
    let streaming = false;
    await using pair = await grpcPair({
      async getClusterInfo() {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return { clusterName: "finished" };
      },
      async *watchNodes(_request, { fleet }) {
        streaming = true;
        await once(fleet.signal, "abort");
        yield { cursor: "never" };
      },
    });
    const client = pair.connect();
    const call = client.getClusterInfo({});
    const next = client.watchNodes({})[Symbol.asyncIterator]().next();
    const drained = expect(next).rejects.toMatchObject({ code: "DRAINING" });
    await until(() => release !== undefined && streaming);
    const stopping = pair.server.stop(5000);
    await drained;
    release?.();
    expect(await call).toMatchObject({ clusterName: "finished" });
    await stopping;
    await expect(client.getClusterInfo({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("cancels what has not finished in time", async () => {
    const { seen, method } = waiting();
    await using pair = await grpcPair({ getClusterInfo: method });
    const call = pair
      .connect()
      .getClusterInfo({})
      .catch((error: unknown) => error);
    await until(() => seen.started === 1);
    await pair.server.stop(50);
    expect(await call).toMatchObject({ code: "DRAINING" });
    await until(() => seen.reasons.length === 1, "the handler to be told");
  });

  test("is not held by a client that only holds its connection", async () => {
    await using pair = await grpcPair({ getClusterInfo: async () => ({}) });
    await pair.connect().getClusterInfo({});
    const { connect } = await import("node:net");
    const mute = connect(pair.port, "127.0.0.1");
    await once(mute, "connect");
    mute.on("error", () => undefined);
    // Far below the test's time-out only if nobody waits for the mute one.
    await pair.server.stop(120_000);
    mute.destroy();
  });
});
