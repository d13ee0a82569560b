import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { EVENTS } from "../../../../agent/libvirt/protocol/event-table.ts";
import { encodeFrame, FrameParser, MESSAGE, STATUS } from "../../../../agent/libvirt/protocol/frame.ts";
import { LIMITS } from "../../../../agent/libvirt/protocol/limits.ts";
import { remoteError } from "../../../../agent/libvirt/protocol/structures.ts";
import { PROCEDURES, type ProcedureName, procedureNamed } from "../../../../agent/libvirt/protocol/table.ts";
import { MalformedMessage, XdrReader, XdrWriter } from "../../../../agent/libvirt/protocol/xdr.ts";
import { LibvirtPeer, type PeerMessage, replyTo } from "../../../support/libvirt-peer.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

const SEED = seedOfRun();
const random = seededRandom(SEED);
const below = (limit: number) => Math.floor(random() * limit);

afterEach(({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`repeat with SEED=${SEED}\n`);
});

const UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const DOM = { name: "guest", uuid: UUID, id: 3 };
const PARAMS = [
  { name: "cpu.time", type: "ullong", value: 123_456_789_012n },
  { name: "block.0.name", type: "string", value: "vda" },
  { name: "ratio", type: "double", value: 0.5 },
  { name: "on", type: "boolean", value: true },
];
/** Answers with every kind of field in them. */
const RESULTS: [ProcedureName, unknown][] = [
  ["connectListAllDomains", { domains: [DOM, DOM, DOM], ret: 3 }],
  ["connectGetAllDomainStats", { retStats: [{ dom: DOM, params: PARAMS }] }],
  ["domainGetXmlDesc", { xml: `<domain>${"x".repeat(200)}</domain>` }],
  ["domainMigratePerform3Params", { cookieOut: new Uint8Array(37) }],
  [
    "domainInterfaceAddresses",
    { ifaces: [{ name: "eth0", hwaddr: "52:54:00:00:00:01", addrs: [{ type: 0, addr: "10.0.0.2", prefix: 24 }] }] },
  ],
  ["nodeGetInfo", { model: "x86_64", memory: 1, cpus: 2, mhz: 3, nodes: 4, sockets: 5, cores: 6, threads: 7 }],
];

function bodyOf([name, result]: [ProcedureName, unknown]): Buffer {
  const writer = new XdrWriter();
  procedureNamed(name).result.write(writer, result);
  return Buffer.from(writer.bytes);
}

const emptyList = (writer: XdrWriter) => writer.raw(Buffer.alloc(8));

/** Some bytes changed, cut or added, with a liking for what lengths and counts look like. */
function mutated(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  const words = [0, 1, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, LIMITS.stringBytes, LIMITS.list, LIMITS.frameBytes, below(2 ** 32)];
  for (let changes = below(4); changes >= 0 && changed.length >= 4; changes--) {
    if (random() < 0.5) changed.writeUInt32BE(words[below(words.length)]!, below(changed.length / 4) * 4);
    else changed[below(changed.length)] = below(256);
  }
  const length = below(3) === 0 ? below(changed.length + 1) : changed.length;
  return below(4) === 0 ? Buffer.concat([changed.subarray(0, length), Buffer.alloc(below(40), below(256))]) : changed.subarray(0, length);
}

/** Reads without an error, or says that the message is malformed: nothing else may come out. */
function readsOrRefuses(read: (reader: XdrReader) => void, bytes: Buffer): "read" | "refused" {
  try {
    const reader = new XdrReader(bytes);
    read(reader);
    reader.end();
    return "read";
  } catch (error) {
    if (error instanceof MalformedMessage) return "refused";
    throw new Error(`${String(error)} from ${bytes.toString("hex")}`, { cause: error });
  }
}

describe("the codec", () => {
  test.each(RESULTS.map((result) => [result[0], bodyOf(result)] as const))(
    "refuses every answer to %s that ends too early or too late",
    (name, body) => {
      const read = (reader: XdrReader) => void procedureNamed(name).result.read(reader);
      expect(readsOrRefuses(read, body)).toBe("read");
      for (let length = 0; length < body.length; length++) expect(readsOrRefuses(read, body.subarray(0, length))).toBe("refused");
      expect(readsOrRefuses(read, Buffer.concat([body, Buffer.alloc(4)]))).toBe("refused");
    },
  );

  test("reads or refuses whatever became of an answer", () => {
    const outcomes = { read: 0, refused: 0 };
    for (let round = 0; round < 5000; round++) {
      const [name, result] = RESULTS[round % RESULTS.length]!;
      outcomes[readsOrRefuses((reader) => void procedureNamed(name).result.read(reader), mutated(bodyOf([name, result])))] += 1;
    }
    expect(outcomes.read).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
  });

  test("reads or refuses random bytes as any answer, event or error", () => {
    const codecs = [
      ...Object.keys(PROCEDURES).map((name) => procedureNamed(name as ProcedureName).result),
      ...Object.values(EVENTS).map(({ payload }) => payload),
      remoteError,
    ];
    for (let round = 0; round < 5000; round++) {
      // Small numbers, so that lengths and counts are believable.
      const bytes = Buffer.from(Array.from({ length: below(60) * 4 }, (_unused, at) => (at % 4 === 3 ? below(8) : 0)));
      readsOrRefuses((reader) => void codecs[round % codecs.length]!.read(reader), bytes);
    }
  });

  test("cuts random bytes into messages or refuses them, and holds no more than came", () => {
    for (let round = 0; round < 2000; round++) {
      const frame = encodeFrame({ program: "remote", procedure: 1, type: MESSAGE.REPLY, serial: 1, status: STATUS.OK });
      const bytes = random() < 0.5 ? mutated(frame) : Buffer.from(Array.from({ length: below(200) }, () => below(256)));
      const parser = new FrameParser(() => undefined);
      try {
        for (let at = 0; at < bytes.length; ) {
          const next = at + 1 + below(40);
          parser.push(bytes.subarray(at, next));
          at = next;
        }
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedMessage);
      }
      expect(parser.buffered).toBeLessThanOrEqual(bytes.length);
    }
  });
});

describe("a connection to something that is no daemon", () => {
  let daemon: LibvirtPeer;
  beforeAll(async () => {
    daemon = await LibvirtPeer.start();
  });
  afterAll(() => daemon.close());

  /** What becomes of a call when the peer answers these bytes. */
  async function callAnsweredBy(answer: (call: PeerMessage) => Buffer): Promise<{ call: unknown; ended: Error }> {
    const { client, peer } = await daemon.connect();
    const call = client.call("connectListAllDomains", {}).catch((error: unknown) => error);
    peer.socket.write(answer(await peer.next()));
    // Where the answer was no more than half a message, the peer's end is the end.
    peer.socket.end();
    return { call: await call, ended: await client.ended };
  }

  test.each([
    ["text", () => Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["zeros", () => Buffer.alloc(100)],
    ["a huge length", () => Buffer.from("ffffffff2000808600000001", "hex")],
    ["a length that is too small", () => Buffer.from("0000000420008086", "hex")],
    ["an answer to a call that was never made", (call: PeerMessage) => encodeFrame({ ...replyTo(call), serial: call.serial + 1 })],
    ["an answer to another procedure", (call: PeerMessage) => encodeFrame({ ...replyTo(call), procedure: 1 }, emptyList)],
    ["an answer of another program", (call: PeerMessage) => encodeFrame({ ...replyTo(call), program: "qemu" }, emptyList)],
    ["an answer without its fields", (call: PeerMessage) => encodeFrame(replyTo(call))],
    ["an answer with fields too many", (call: PeerMessage) => encodeFrame(replyTo(call), (writer) => writer.raw(Buffer.alloc(12)))],
    ["an error without its fields", (call: PeerMessage) => encodeFrame({ ...replyTo(call), status: STATUS.ERROR })],
    ["a stream that was not opened", (call: PeerMessage) => encodeFrame({ ...replyTo(call), type: MESSAGE.STREAM })],
    ["a list that claims to be endless", (call: PeerMessage) => encodeFrame(replyTo(call), (writer) => writer.uint(0xffff_ffff))],
  ])("ends with an error that says so, when it answers %s", async (_name, answer) => {
    const { call, ended } = await callAnsweredBy(answer);
    expect(call).toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtConnectionLost" });
    expect(ended).toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtProtocol", cause: { name: "MalformedMessage" } });
  });

  test("ends when the other side says nothing more in the middle of a message", async () => {
    const { call, ended } = await callAnsweredBy((message) => encodeFrame(replyTo(message), (writer) => writer.uint(0)).subarray(0, 30));
    expect(call).toMatchObject({ code: "UNAVAILABLE" });
    expect(ended).toMatchObject({ code: "UNAVAILABLE" });
  });

  test("settles every call, whatever comes", async () => {
    for (let round = 0; round < 300; round++) {
      const result = bodyOf(RESULTS[0]!);
      const { call, ended } = await callAnsweredBy((message) => {
        const frame = encodeFrame(replyTo(message), (writer) => writer.raw(result));
        return random() < 0.3 ? Buffer.concat([mutated(frame), mutated(frame)]) : mutated(frame);
      });
      expect(ended).toBeInstanceOf(Error);
      const answered = call as { domains?: unknown; name?: string };
      expect(answered.domains !== undefined || answered.name === "FleetError" || answered.name === "LibvirtError").toBe(true);
    }
  });

  test("takes memory only for what really comes", async () => {
    const before = process.memoryUsage().arrayBuffers;
    const header = encodeFrame({ program: "remote", procedure: 1, type: MESSAGE.REPLY, serial: 1, status: STATUS.OK });
    header.writeUInt32BE(LIMITS.frameBytes, 0);
    const ping = encodeFrame({ program: "keepalive", procedure: 1, type: MESSAGE.EVENT, serial: 0, status: STATUS.OK });
    const ends: Promise<Error>[] = [];
    for (let connection = 0; connection < 20; connection++) {
      const { client, peer } = await daemon.connect();
      // Of 32 MiB.
      peer.socket.write(Buffer.concat([ping, header, Buffer.alloc(10_000)]));
      expect(await peer.next()).toMatchObject({ program: "keepalive", procedure: 2 });
      ends.push(client.ended);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * 1024 * 1024);
    daemon.hangUp();
    await Promise.all(ends);
  });

  test("gives no more answers to pings than the other side reads", async () => {
    const { client, peer } = await daemon.connect();
    const ping = encodeFrame({ program: "keepalive", procedure: 1, type: MESSAGE.EVENT, serial: 0, status: STATUS.OK });
    peer.socket.pause();
    const before = process.memoryUsage().arrayBuffers;
    for (let round = 0; round < 40; round++) {
      await new Promise((resolve) => peer.socket.write(Buffer.concat(new Array(10_000).fill(ping)), resolve));
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
    await client.close();
  });
});
