import { expect, test } from "vitest";
import { encodeFrame, type Frame, FrameParser, MESSAGE, STATUS } from "../../../../agent/libvirt/protocol/frame.ts";
import { LIMITS } from "../../../../agent/libvirt/protocol/limits.ts";
import { MalformedMessage } from "../../../../agent/libvirt/protocol/xdr.ts";

const HEADER = { program: "remote", procedure: 273, type: MESSAGE.REPLY, serial: 7, status: STATUS.OK } as const;

function message(bytes: number, serial = 7): Buffer {
  return encodeFrame({ ...HEADER, serial }, (writer) => writer.raw(Buffer.alloc(bytes, serial)));
}

function parse(chunks: Buffer[]): { frames: Frame[]; parser: FrameParser } {
  const frames: Frame[] = [];
  const parser = new FrameParser((frame) => frames.push(frame));
  for (const chunk of chunks) parser.push(chunk);
  return { frames, parser };
}

test("a message carries its header and its body", () => {
  const { frames } = parse([message(8)]);
  expect(frames).toEqual([{ ...HEADER, body: Buffer.alloc(8, 7) }]);
});

test("messages are found wherever the stream is cut", () => {
  const bytes = Buffer.concat([message(0, 1), message(5, 2), message(300, 3), message(0, 4)]);
  for (let cut = 0; cut <= bytes.length; cut++) {
    for (const second of [cut, cut + 1, cut + 3, cut + 30]) {
      const { frames, parser } = parse([bytes.subarray(0, cut), bytes.subarray(cut, second), bytes.subarray(second)]);
      expect(frames.map(({ serial, body }) => [serial, body.length])).toEqual([
        [1, 0],
        [2, 5],
        [3, 300],
        [4, 0],
      ]);
      expect(parser.buffered).toBe(0);
    }
  }
});

test("a large message that comes byte by byte is put together", () => {
  const bytes = message(200_000, 9);
  const { frames } = parse(Array.from(bytes, (_byte, at) => bytes.subarray(at, at + 1)));
  expect(frames[0]?.body.equals(Buffer.alloc(200_000, 9))).toBe(true);
});

test("of a message that says it is huge, only what came is held", () => {
  const header = Buffer.from(message(0));
  header.writeUInt32BE(LIMITS.frameBytes, 0);
  const before = process.memoryUsage().arrayBuffers;
  const parsers = Array.from({ length: 100 }, () => parse([header, Buffer.alloc(1000)]).parser);
  expect(parsers.every(({ buffered }) => buffered === 1028)).toBe(true);
  // 100 parsers, each of which would take 32 MiB if it believed what it is told.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 200_000);
});

test.each([
  ["is shorter than a header", 0, 27],
  ["is longer than libvirt's longest", 0, LIMITS.frameBytes + 1],
  ["is of another program", 4, 0x2000_8085],
  ["is of another version", 8, 2],
  ["is a call", 16, MESSAGE.CALL],
  ["is of no type", 16, 7],
  ["has no status", 24, 3],
])("a message that %s is refused", (_name, at, value) => {
  const bytes = message(0);
  bytes.writeUInt32BE(value, at);
  expect(() => parse([bytes])).toThrow(MalformedMessage);
  expect(() => parse(Array.from(bytes, (_byte, index) => bytes.subarray(index, index + 1)))).toThrow(MalformedMessage);
});
