import { describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { GroupCommit, type Outcome } from "../../../subgraphs/kit/group-commit.ts";

/** Doubles numbers, one batch per turn; remembers the batches. */
function doubling(run?: (entries: readonly number[]) => Array<Outcome<number>>) {
  const batches: number[][] = [];
  const group = new GroupCommit<number, number>({
    batch: 3,
    queue: 5,
    run: async (entries) => {
      batches.push([...entries]);
      await new Promise((resolve) => setImmediate(resolve));
      return run ? run(entries) : entries.map((entry) => ({ value: entry * 2 }));
    },
  });
  return { group, batches };
}

describe("a group commit", () => {
  test("stores together what comes in together, in order and in bounded batches", async () => {
    const { group, batches } = doubling();
    expect(await Promise.all([1, 2, 3, 4, 5].map((entry) => group.add(entry)))).toEqual([2, 4, 6, 8, 10]);
    expect(batches).toEqual([
      [1, 2, 3],
      [4, 5],
    ]);
    expect(await group.add(6)).toBe(12);
  });

  test("collects what comes in while a batch is stored", async () => {
    const { group, batches } = doubling();
    const first = group.add(1);
    await Promise.resolve();
    await Promise.resolve();
    const rest = [2, 3].map((entry) => group.add(entry));
    await Promise.all([first, ...rest]);
    expect(batches).toEqual([[1], [2, 3]]);
  });

  test("refuses one entry without the others", async () => {
    const refused = new FleetError("FORBIDDEN", "no");
    const { group } = doubling((entries) => entries.map((entry) => (entry === 2 ? { error: refused } : { value: entry })));
    expect(await Promise.allSettled([1, 2, 3].map((entry) => group.add(entry)))).toEqual([
      { status: "fulfilled", value: 1 },
      { status: "rejected", reason: refused },
      { status: "fulfilled", value: 3 },
    ]);
  });

  test("tries each entry alone where the batch cannot be stored, so that one bad entry harms nobody", async () => {
    const { group, batches } = doubling((entries) => {
      if (entries.includes(2)) throw new Error("cannot be stored");
      return entries.map((entry) => ({ value: entry }));
    });
    const outcomes = await Promise.allSettled([1, 2, 3].map((entry) => group.add(entry)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(batches).toEqual([[1, 2, 3], [1], [2], [3]]);
  });

  test("does not try each entry of a batch for which the database is away", async () => {
    const { group, batches } = doubling(() => {
      throw new FleetError("UNAVAILABLE", "away");
    });
    const outcomes = await Promise.allSettled([1, 2].map((entry) => group.add(entry)));
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(batches).toEqual([[1, 2]]);
  });

  test("holds only so many", async () => {
    const { group } = doubling();
    const added = [1, 2, 3, 4, 5].map((entry) => group.add(entry));
    await expect(group.add(6)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await Promise.all(added);
    expect(await group.add(7)).toBe(14);
  });
});
