import { expect, test } from "vitest";
import { Turns } from "../../../../agent/libvirt/turns.ts";

const signal = new AbortController().signal;
const full = () => new Error("full");

test("no more than the places are taken at once, and the others follow in order", async () => {
  const log: string[] = [];
  const turns = new Turns(2, 10, full);
  const taking = ["a", "b", "c", "d"].map(async (name) => {
    const giveBack = await turns.take(10_000, signal);
    log.push(name);
    return giveBack;
  });
  const [first, second] = [await taking[0]!, await taking[1]!];
  expect(log).toEqual(["a", "b"]);
  second();
  const third = await taking[2]!;
  expect(log).toEqual(["a", "b", "c"]);
  first();
  third();
  (await taking[3]!)();
  expect(log).toEqual(["a", "b", "c", "d"]);
});

test("one that gives up, and one too many, are refused, and cost no place", async () => {
  const turns = new Turns(1, 2, full);
  const giveBack = await turns.take(10_000, signal);
  const aborting = new AbortController();
  const late = turns.take(5, signal);
  const aborted = turns.take(10_000, aborting.signal);
  await expect(turns.take(10_000, signal)).rejects.toThrow("full");
  aborting.abort();
  await expect(aborted).rejects.toMatchObject({ code: "CANCELLED" });
  await expect(late).rejects.toThrow("full");
  const [second, third] = [turns.take(10_000, signal), turns.take(10_000, signal)];
  giveBack();
  (await second)();
  (await third)();
  (await turns.take(10_000, signal))();
});
