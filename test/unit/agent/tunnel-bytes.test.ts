import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { bytesOf, writeBytes } from "../../../agent/migration/tunnel-bytes.ts";
import { MigrationBytes } from "../../../schema/generated/proto/hypervisor/v1/migration.ts";
import { until } from "../../support/until.ts";

const never = new AbortController().signal;

async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection");
  const client = connect({ port: (server.address() as { port: number }).port, allowHalfOpen: true });
  const [other] = (await accepted) as [Socket];
  server.close();
  return [client, other];
}

const message = (partial: Partial<MigrationBytes>) => MigrationBytes.fromPartial(partial);

it("cuts what a connection says into messages of at most 64 KiB, with the ticket first and the end last", async () => {
  const connection = new PassThrough({ highWaterMark: 2 ** 20 });
  const sent = Buffer.alloc(200_000, 7);
  connection.end(sent);
  const messages: MigrationBytes[] = [];
  for await (const one of bytesOf(connection, { ticket: "t", channel: "memory" })) messages.push(one);
  expect(messages[0]).toMatchObject({ ticket: "t", channel: "memory", end: false });
  expect(messages.at(-1)).toMatchObject({ end: true });
  expect(Math.max(...messages.map(({ data }) => data.length))).toBeLessThanOrEqual(65_536);
  expect(Buffer.concat(messages.map(({ data }) => data)).equals(sent)).toBe(true);
});

it("ends one direction and leaves the other open", async () => {
  const [here, there] = await socketPair();
  async function* messages() {
    yield message({ data: Buffer.from("question") });
    yield message({ end: true });
  }
  await writeBytes(messages(), here, never);
  const heard: Buffer[] = [];
  for await (const chunk of there.iterator({ destroyOnReturn: false })) heard.push(chunk as Buffer);
  expect(Buffer.concat(heard).toString()).toBe("question");
  there.end("answer");
  const answers: string[] = [];
  for await (const { data } of bytesOf(here)) answers.push(Buffer.from(data).toString());
  expect(answers.join("")).toBe("answer");
});

it("takes no more than the connection does", async () => {
  const [here, there] = await socketPair();
  there.pause();
  let taken = 0;
  async function* endless() {
    for (; taken < 10_000; taken += 1) yield message({ data: Buffer.alloc(65_536) });
    yield message({ end: true });
  }
  const writing = writeBytes(endless(), here, never);
  writing.catch(() => undefined);
  let before = -1;
  await until(async () => {
    const isStuck = taken === before && taken > 0;
    before = taken;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return isStuck && taken === before;
  }, "the writer to wait");
  expect(taken).toBeLessThan(1000);
  there.destroy();
  await expect(writing).rejects.toMatchObject({ reason: "TunnelBroken" });
});

it("does not take a stream that was cut off for one that ended", async () => {
  const [here, there] = await socketPair();
  async function* cut() {
    yield message({ data: Buffer.from("half of") });
  }
  await expect(writeBytes(cut(), here, never)).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "TunnelBroken" });
  expect(here.writableEnded).toBe(false);
  here.destroy();
  there.destroy();
});

it("says nothing of an end when a connection breaks", async () => {
  const connection = new PassThrough();
  connection.write("some");
  const messages = bytesOf(connection);
  expect((await messages.next()).value).toMatchObject({ end: false });
  connection.destroy(new Error("reset"));
  await expect(messages.next()).rejects.toThrow();
});
