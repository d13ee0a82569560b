import { expect, test } from "vitest";
import { Scrollback } from "../../../../agent/terminal/scrollback.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";

test("keeps the last bytes, each at its offset, however they come", () => {
  const seed = seedOfRun();
  const random = seededRandom(seed);
  for (const capacity of [1, 7, 1000, 20_000, 50_000]) {
    const scrollback = new Scrollback(capacity);
    let all = Buffer.alloc(0);
    for (let round = 0; round < 60; round++) {
      const size = Math.floor(random() ** 3 * capacity * 2.5);
      const data = Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
      scrollback.append(data);
      all = Buffer.concat([all, data]);
      expect(scrollback.next, `SEED=${seed}`).toBe(all.length);
      expect(scrollback.first, `SEED=${seed}`).toBe(Math.max(0, all.length - capacity));
      const from = scrollback.first + Math.floor(random() * (scrollback.next - scrollback.first + 1));
      const max = Math.floor(random() * capacity * 1.5);
      expect(scrollback.read(from, max).equals(all.subarray(from, from + max)), `SEED=${seed}`).toBe(true);
      expect(scrollback.read(scrollback.first, capacity).equals(all.subarray(scrollback.first)), `SEED=${seed}`).toBe(true);
    }
  }
});
