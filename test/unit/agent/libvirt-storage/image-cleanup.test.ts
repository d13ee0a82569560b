import { describe, expect, it } from "vitest";
import type { FetchedImages, WholeImage } from "../../../../agent/drivers/libvirt/storage/fetched-images.ts";
import { type CleanupRules, ImageCleanup } from "../../../../agent/drivers/libvirt/storage/image-cleanup.ts";
import { ImagePins } from "../../../../agent/drivers/libvirt/storage/image-pins.ts";
import type { Users } from "../../../../agent/drivers/libvirt/storage/image-users.ts";
import type { ImageUses } from "../../../../agent/drivers/libvirt/storage/image-uses.ts";
import type { StoragePool } from "../../../../agent/drivers/libvirt/storage/storage-pool.ts";
import { createLogger } from "../../../../platform/observability/log.ts";

const DAY_MS = 86_400_000;
const NOW = new Date("2026-11-21T10:00:00Z");
const GIB = 2 ** 30;
const signal = AbortSignal.timeout(60_000);

interface Given {
  name: string;
  fetchedDaysAgo: number;
  usedDaysAgo?: number;
  inUse?: boolean;
}

const daysAgo = (days: number) => new Date(NOW.getTime() - days * DAY_MS);

/** A host with images of 1 GiB each, in memory. */
function hostWith(given: Given[], freeBytes = 0) {
  const held = new Map(given.map((one) => [one.name, one]));
  const noted = new Map(
    given.flatMap(({ name, usedDaysAgo }) => (usedDaysAgo === undefined ? [] : [[name, daysAgo(usedDaysAgo)] as const])),
  );
  const removed: string[] = [];
  const pins = new ImagePins();
  const user = (): Users => ({ instanceIds: new Set(["inst-1"]), names: new Set() });
  const users = async () => new Map([...held.values()].filter(({ inUse }) => inUse).map(({ name }) => [`/${name}`, user()]));
  const images = {
    pins,
    all: async () =>
      [...held.values()].map(
        ({ name, fetchedDaysAgo }) =>
          ({
            sha256: name,
            volumes: [{ path: `/${name}` }],
            references: [],
            record: { fetchedAt: daysAgo(fetchedDaysAgo).toISOString() },
          }) as unknown as WholeImage,
      ),
    remove: async ({ sha256 }: WholeImage, check: (users: Map<string, Users>) => void) => {
      check(await users());
      removed.push(sha256);
      held.delete(sha256);
      return GIB;
    },
  } as unknown as FetchedImages;
  const uses = {
    last: async (name: string) => noted.get(name) ?? null,
    note: async (name: string, at: Date) => void noted.set(name, at),
    forget: () => undefined,
  } as unknown as ImageUses;
  const pool = { refresh: async () => undefined, freeBytes: async () => freeBytes } as unknown as StoragePool;
  const log = createLogger({ name: "test", level: "silent" });
  const run = async (rules: Partial<CleanupRules>) => {
    const all = { retentionDays: 0, minFreeBytes: 0, ...rules };
    await new ImageCleanup({ pool, images, uses, users, rules: all, log }).run(NOW, signal);
    return removed;
  };
  return { run, noted, pins, held };
}

describe("the clean-up of images", () => {
  it("by age counts from the last use, and from the fetch where there was none since", async () => {
    const { run, held } = hostWith([
      { name: "never-used", fetchedDaysAgo: 31 },
      { name: "used-lately", fetchedDaysAgo: 100, usedDaysAgo: 29 },
      { name: "used-long-ago", fetchedDaysAgo: 100, usedDaysAgo: 31 },
      { name: "fetched-again", fetchedDaysAgo: 1, usedDaysAgo: 100 },
    ]);
    expect(await run({ retentionDays: 30 })).toHaveLength(2);
    expect([...held.keys()]).toEqual(["used-lately", "fetched-again"]);
  });

  it("leaves those in use, and notes that they are", async () => {
    const { run, noted } = hostWith([
      { name: "in-use", fetchedDaysAgo: 100, usedDaysAgo: 90, inUse: true },
      { name: "in-use-noted", fetchedDaysAgo: 100, usedDaysAgo: 0.5, inUse: true },
    ]);
    expect(await run({ retentionDays: 30, minFreeBytes: GIB })).toEqual([]);
    expect(noted.get("in-use")).toEqual(NOW);
    expect(noted.get("in-use-noted")).toEqual(daysAgo(0.5));
  });

  it("leaves those that somebody is about to use", async () => {
    const { run, pins } = hostWith([{ name: "held", fetchedDaysAgo: 100 }]);
    const pin = pins.hold("/held");
    expect(await run({ retentionDays: 30 })).toEqual([]);
    pin[Symbol.dispose]();
    expect(await run({ retentionDays: 30 })).toEqual([]);
    // It counts as used when it was held.
    expect((await hostWith([{ name: "held", fetchedDaysAgo: 100 }]).run({ retentionDays: 30 })).length).toBe(1);
  });

  it("for space removes no more than is needed, those first that were not used for longest, and none that just came", async () => {
    const given = [
      { name: "newer", fetchedDaysAgo: 50, usedDaysAgo: 2 },
      { name: "oldest", fetchedDaysAgo: 40, usedDaysAgo: 9 },
      { name: "older", fetchedDaysAgo: 5 },
      { name: "fresh", fetchedDaysAgo: 0.01 },
    ];
    expect(await hostWith(given, 3 * GIB).run({ minFreeBytes: 3 * GIB })).toEqual([]);
    expect(await hostWith(given, 3 * GIB).run({ minFreeBytes: 3 * GIB + 1 })).toEqual(["oldest"]);
    expect(await hostWith(given, 0).run({ minFreeBytes: 2 * GIB })).toEqual(["oldest", "older"]);
    expect(await hostWith(given, 0).run({ minFreeBytes: 100 * GIB })).toEqual(["oldest", "older", "newer"]);
  });

  it("does nothing where no rule asks for it", async () => {
    expect(await hostWith([{ name: "old", fetchedDaysAgo: 10_000 }]).run({})).toEqual([]);
  });
});
