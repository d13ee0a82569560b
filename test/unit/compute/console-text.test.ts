import { describe, expect, test } from "vitest";
import { ConsoleTextDecoder } from "../../../subgraphs/compute/services/consoles/console-text.ts";
import type {
  ConsoleEncoding,
  ConsoleOutputFrame,
  ConsoleSessionView,
} from "../../../subgraphs/compute/services/consoles/console-types.ts";
import { encodeOutput } from "../../../subgraphs/compute/services/consoles/encoded-output.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";

const TEXT = "\u001b[2Jprompt $ äöü — 終端 🙂🙃\r\n\u0000\uFEFF";

describe("a console's bytes as text", () => {
  test("a character that is split over frames comes whole, with the later one", () => {
    const decoder = new ConsoleTextDecoder();
    const [a, b, c, d] = Buffer.from("🙂");
    expect(decoder.decode(10, Buffer.from([0x61, a!, b!]), false)).toEqual({ offset: 10, nextOffset: 11, text: "a" });
    expect(decoder.decode(13, Buffer.from([c!]), false)).toEqual({ offset: 11, nextOffset: 11, text: "" });
    expect(decoder.decode(14, Buffer.from([d!, 0x62]), false)).toEqual({ offset: 11, nextOffset: 16, text: "🙂b" });
  });

  test("however it is cut, nothing is lost, and every text can be gone on behind", () => {
    const seed = seedOfRun();
    const random = seededRandom(seed);
    const bytes = Buffer.from(TEXT.repeat(20));
    for (let round = 0; round < 50; round += 1) {
      let decoder = new ConsoleTextDecoder();
      let text = "";
      let nextOffset = 0;
      for (let at = 0; at < bytes.length; ) {
        const end = Math.min(bytes.length, at + 1 + Math.floor(random() * 7));
        const decoded = decoder.decode(at, bytes.subarray(at, end), end === bytes.length);
        expect(decoded.offset, `SEED=${seed}`).toBe(nextOffset);
        text += decoded.text;
        nextOffset = decoded.nextOffset;
        at = end;
        // The connection is lost, and the viewer goes on behind what it has.
        if (random() < 0.2) {
          decoder = new ConsoleTextDecoder();
          at = nextOffset;
        }
      }
      expect(text, `SEED=${seed}`).toBe(bytes.toString());
      expect(nextOffset).toBe(bytes.length);
    }
  });

  test("bytes that are no UTF-8 are replaced as browsers do it, also over the ends of frames", () => {
    const bytes = Buffer.from([0xff, 0x61, 0xc3, 0x28, 0xe2, 0x82, 0x62, 0xed, 0xa0, 0x80, 0xf5, 0x80, 0x80, 0x80, 0xf0, 0x9f]);
    const expected = new TextDecoder().decode(bytes);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      const decoder = new ConsoleTextDecoder();
      const first = decoder.decode(0, bytes.subarray(0, cut), false);
      const second = decoder.decode(cut, bytes.subarray(cut), true);
      expect(first.text + second.text).toBe(expected);
      expect(second.nextOffset).toBe(bytes.length);
    }
  });

  test("what is held back is forgotten where bytes were lost behind it", () => {
    const decoder = new ConsoleTextDecoder();
    decoder.decode(0, Buffer.from([0xe7, 0xb5]), false);
    expect(decoder.decode(100, Buffer.from([0x82, 0x61]), false)).toEqual({ offset: 100, nextOffset: 102, text: "\uFFFDa" });
  });
});

describe("frames in an encoding", () => {
  const session = { id: "con-1", ended: null } as ConsoleSessionView;
  const ended = { ...session, ended: "STOPPED" as const };
  const frame = (offset: number, data: string | Buffer, more: Partial<ConsoleOutputFrame> = {}): ConsoleOutputFrame => ({
    ...{ offset, data: Buffer.from(data), skipped: false, session: null, message: null },
    ...more,
  });

  async function encoded(frames: ConsoleOutputFrame[], encoding: ConsoleEncoding) {
    const seen = [];
    for await (const { offset, nextOffset, data, skipped, session: told } of encodeOutput(frames[Symbol.iterator]() as never, encoding)) {
      seen.push([offset, nextOffset, data, skipped, told?.ended]);
    }
    return seen;
  }

  test("one that would tell nothing is left out, and the end brings what was held back", async () => {
    const split = Buffer.from("é");
    const frames = [
      frame(0, "", { session }),
      frame(0, split.subarray(0, 1)),
      frame(1, split.subarray(1)),
      frame(9, split.subarray(0, 1), { skipped: true }),
      frame(10, "", { session: ended, message: "It stopped." }),
    ];
    expect(await encoded(frames, "TEXT")).toEqual([
      [0, 0, "", false, null],
      [0, 2, "é", false, undefined],
      [9, 9, "", true, undefined],
      [9, 10, "\uFFFD", false, "STOPPED"],
    ]);
    expect(await encoded(frames, "BASE64")).toEqual([
      [0, 0, "", false, null],
      [0, 1, "ww==", false, undefined],
      [1, 2, "qQ==", false, undefined],
      [9, 10, "ww==", true, undefined],
      [10, 10, "", false, "STOPPED"],
    ]);
  });

  test("ends its source at once, also while that is quiet", async () => {
    let returned = false;
    const quiet = Promise.withResolvers<IteratorResult<ConsoleOutputFrame>>();
    const source: AsyncIterator<ConsoleOutputFrame> = {
      next: () => quiet.promise,
      return: async () => {
        returned = true;
        quiet.resolve({ done: true, value: undefined });
        return { done: true, value: undefined };
      },
    };
    const output = encodeOutput(source, "TEXT");
    const waiting = output.next();
    await output.return?.();
    expect(returned).toBe(true);
    expect((await waiting).done).toBe(true);
  });
});
