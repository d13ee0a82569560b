import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeFrame, MESSAGE, STATUS } from "../../../../agent/libvirt/protocol/frame.ts";
import { remoteError } from "../../../../agent/libvirt/protocol/structures.ts";
import type { StreamProcedureName } from "../../../../agent/libvirt/protocol/table.ts";
import { LibvirtPeer, type PeerMessage, replyTo } from "../../../support/libvirt-peer.ts";
import { until } from "../../../support/until.ts";

const DOM = { name: "a", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f" };
const VOL = { pool: "p", name: "v", key: "/v" };

let daemon: LibvirtPeer;
beforeAll(async () => {
  daemon = await LibvirtPeer.start();
});
afterAll(() => daemon.close());

/** A stream that the peer has opened, and how the peer speaks on it. */
async function opened(name: StreamProcedureName, args: object) {
  const { client, peer } = await daemon.connect();
  const opening = client.openStream(name, args);
  const call = await peer.next();
  peer.send(replyTo(call));
  const stream = await opening;
  const say = (status: number, data: Uint8Array = new Uint8Array()) => peer.socket.write(streamFrame(call, status, data));
  return { client, peer, stream, say, call };
}

function streamFrame({ procedure, serial }: PeerMessage, status: number, data: Uint8Array): Buffer {
  return encodeFrame({ program: "remote", procedure, type: MESSAGE.STREAM, serial, status }, (writer) => writer.raw(data));
}

const console = () => opened("domainOpenConsole", { dom: DOM });
const download = () => opened("storageVolDownload", { vol: VOL, offset: 0, length: 0 });
const upload = () => opened("storageVolUpload", { vol: VOL, offset: 0, length: 0 });

async function text(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const packets: Uint8Array[] = [];
  for await (const packet of stream) packets.push(packet);
  return Buffer.concat(packets).toString();
}

/** Waits until a count has stayed the same for a good while. */
async function standstill(count: () => number): Promise<void> {
  let last = count();
  let same = 0;
  await until(() => {
    same = count() === last ? same + 1 : 0;
    last = count();
    return same === 20;
  });
}

describe("a stream", () => {
  test("gives what the daemon sends, and ends when the daemon has confirmed that this was all", async () => {
    const { stream, peer, say, client } = await download();
    const reading = text(stream);
    say(STATUS.CONTINUE, Buffer.from("Hello, "));
    say(STATUS.CONTINUE, Buffer.from("world"));
    say(STATUS.CONTINUE);
    expect(await peer.next()).toMatchObject({ type: MESSAGE.STREAM, status: STATUS.OK });
    say(STATUS.OK);
    expect(await reading).toBe("Hello, world");
    await client.ended;
  });

  test("may begin before the call that opens it is answered", async () => {
    const { client, peer } = await daemon.connect();
    const opening = client.openStream("domainOpenConsole", { dom: DOM });
    const call = await peer.next();
    peer.socket.write(Buffer.concat([streamFrame(call, STATUS.CONTINUE, Buffer.from("early")), encodeFrame(replyTo(call))]));
    const stream = await opening;
    const first = await stream[Symbol.asyncIterator]().next();
    expect(Buffer.from(first.value as Uint8Array).toString()).toBe("early");
    stream.abort();
  });

  test("that fails in the end fails its reader after the data", async () => {
    const { stream, peer, say, call } = await download();
    say(STATUS.CONTINUE, Buffer.from("half"));
    say(STATUS.CONTINUE);
    const received: string[] = [];
    const reading = (async () => {
      for await (const data of stream) received.push(Buffer.from(data).toString());
    })();
    const finish = await peer.next();
    expect(finish.status).toBe(STATUS.OK);
    const header = {
      program: "remote",
      procedure: call.procedure,
      type: MESSAGE.REPLY,
      serial: call.serial,
      status: STATUS.ERROR,
    } as const;
    peer.send(header, (writer) =>
      remoteError.write(writer, { code: 38, domain: 18, message: "cannot read: Input/output error", level: 2, int1: 5, int2: 0 }),
    );
    await expect(reading).rejects.toMatchObject({ name: "LibvirtError", codeName: "SYSTEM_ERROR", domainName: "STORAGE" });
    expect(received).toEqual(["half"]);
  });

  test("that the daemon refuses to open is an error of the opening, and its connection ends", async () => {
    const { client, peer } = await daemon.connect();
    const opening = client.openStream("domainOpenConsole", { dom: DOM });
    const call = await peer.next();
    peer.send({ ...replyTo(call), status: STATUS.ERROR }, (writer) =>
      remoteError.write(writer, { code: 55, domain: 10, message: "domain is not running", level: 2, int1: 0, int2: 0 }),
    );
    await expect(opening).rejects.toMatchObject({ codeName: "OPERATION_INVALID" });
    await client.ended;
  });

  test("carries what is written, in pieces that the daemon takes, and is confirmed at the end", async () => {
    const { stream, peer, say } = await upload();
    const data = Buffer.alloc(600_000, "fleet");
    const writing = stream.write(data).then(() => stream.finish());
    const pieces = [await peer.next(), await peer.next(), await peer.next()];
    expect(pieces.map(({ status, body }) => [status, body.length])).toEqual([
      [STATUS.CONTINUE, 262_144],
      [STATUS.CONTINUE, 262_144],
      [STATUS.CONTINUE, 75_712],
    ]);
    expect(Buffer.concat(pieces.map(({ body }) => body)).equals(data)).toBe(true);
    expect(await peer.next()).toMatchObject({ status: STATUS.OK });
    say(STATUS.OK);
    await writing;
    await expect(stream.write(data)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  test("holds its writer back while the daemon does not read", async () => {
    const { stream, peer } = await upload();
    peer.socket.pause();
    let written = 0;
    const writing = (async () => {
      for (let piece = 0; piece < 512; piece++) {
        await stream.write(Buffer.alloc(32_768));
        written += 1;
      }
    })();
    await until(() => written > 0);
    // When the socket's buffers are full.
    await standstill(() => written);
    expect(written).toBeLessThan(512);
    peer.socket.resume();
    await writing;
    expect(written).toBe(512);
    stream.abort();
  });

  test("refuses a writer that does not wait", async () => {
    const { stream, peer } = await upload();
    peer.socket.pause();
    const writes = await Promise.allSettled(
      Array.from({ length: 100 }, async (_unused, index) => {
        const writing = stream.write(Buffer.alloc(262_144));
        if (index === 99) stream.abort();
        await writing;
      }),
    );
    const refused = writes.filter((write) => write.status === "rejected" && write.reason.code === "RESOURCE_EXHAUSTED");
    expect(refused.length).toBeGreaterThan(50);
  });

  test("of a console ends when nobody reads it", async () => {
    const { stream, say, client } = await console();
    for (let packet = 0; packet < 20; packet++) say(STATUS.CONTINUE, Buffer.alloc(65_536, packet));
    expect(await client.ended).toMatchObject({ code: "SLOW_CONSUMER" });
    await expect(text(stream)).rejects.toMatchObject({ code: "SLOW_CONSUMER" });
  });

  test("of a console ends when many small packets pile up", async () => {
    const { say, client } = await console();
    for (let packet = 0; packet < 5000; packet++) say(STATUS.CONTINUE, Buffer.from("x"));
    expect(await client.ended).toMatchObject({ code: "SLOW_CONSUMER" });
  });

  test("of a volume holds the daemon back until it is read, and loses nothing", async () => {
    const { stream, peer, say } = await download();
    const packets = 100;
    for (let packet = 0; packet < packets; packet++) say(STATUS.CONTINUE, Buffer.alloc(262_144, packet));
    say(STATUS.CONTINUE);
    await standstill(() => peer.socket.writableLength);
    expect(peer.socket.writableLength).toBeGreaterThan(20 * 1024 * 1024);
    let at = 0;
    const reading = (async () => {
      for await (const data of stream) {
        for (const byte of [data[0], data.at(-1)]) expect(byte).toBe(Math.floor(at / 262_144));
        at += data.length;
      }
    })();
    expect(await peer.next()).toMatchObject({ status: STATUS.OK });
    say(STATUS.OK);
    await reading;
    expect(at).toBe(packets * 262_144);
  });

  test("that is aborted ends its reader without an error, and its connection", async () => {
    const { stream, peer, client, say } = await console();
    say(STATUS.CONTINUE, Buffer.from("x"));
    const reading = (async () => {
      for await (const _data of stream) stream.abort();
    })();
    await reading;
    await expect(stream.write(Buffer.from("y"))).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    const disposed = stream[Symbol.asyncDispose]();
    expect(await peer.next()).toMatchObject({ type: MESSAGE.STREAM, status: STATUS.ERROR });
    // What was under way.
    say(STATUS.CONTINUE, Buffer.from("late"));
    say(STATUS.OK);
    await disposed;
    await client.ended;
    await peer.closed;
  });

  test("that is left in the middle of reading it is aborted", async () => {
    const { stream, peer, client, say } = await console();
    say(STATUS.CONTINUE, Buffer.from("x"));
    for await (const _data of stream) break;
    expect(await peer.next()).toMatchObject({ type: MESSAGE.STREAM, status: STATUS.ERROR });
    say(STATUS.OK);
    await client.ended;
  });

  test("that is aborted ends its connection, even when the daemon does not say that it knows", async () => {
    const { stream, peer } = await console();
    stream.abort();
    await peer.closed;
  });

  test("fails its reader and its writer when the connection is lost", async () => {
    const { stream, peer } = await console();
    const reading = text(stream);
    peer.socket.destroy();
    await expect(reading).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(stream.write(Buffer.from("y"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(stream.finish()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
