import { expect, test } from "vitest";
import { withoutHeaders } from "../../../../agent/drivers/containers/consoles/attached-output.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

function packet(stream: 1 | 2, text: string): Buffer {
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

test("output and errors of a container without a terminal come as a terminal shows them, wherever they are cut", async () => {
  const seed = seedOfRun();
  const random = seededRandom(seed);
  const sent = Buffer.concat([packet(1, "one\n"), packet(2, ""), packet(2, "wrong\ntwice"), packet(1, "\n\n€"), packet(1, "end")]);
  for (let round = 0; round < 100; round++) {
    const cut = async function* () {
      for (let at = 0; at < sent.length; ) {
        const length = 1 + Math.floor(random() ** 2 * sent.length);
        yield sent.subarray(at, at + length);
        at += length;
      }
    };
    const shown: Buffer[] = [];
    for await (const data of withoutHeaders(cut())) shown.push(data);
    expect(Buffer.concat(shown).toString(), `SEED=${seed}`).toBe("one\r\nwrong\r\ntwice\r\n\r\n€end");
  }
});
