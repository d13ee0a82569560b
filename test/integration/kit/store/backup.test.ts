import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { backupDatabase, restoreDatabase } from "../../../../subgraphs/kit/store/backup.ts";
import { openReplica, openThings, type Replica, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { readTruth } from "../../../support/event-truth.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { seededRandom } from "../../../support/random.ts";
import { changeThings, createRows, pickIds, Thing } from "../../../support/things.ts";

for (const variant of VARIANTS) {
  const database = variant.name.split(" ")[0] as string;
  describeWithPeers(`backup and restore of ${database}`, variant.peers, () => {
    const name = uniqueName();
    let folder: string;
    let source: TestDatabase;
    let target: TestDatabase;
    let replica: Replica;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), "fleetgraph-backup-"));
      source = await variant.database();
      target = await variant.database();
      replica = await openReplica(variant, source.url, name);
      await createRows(replica.store, 100);
      await replica.store.transaction(async ({ em }) => {
        await em.execute(
          "create table child (id integer primary key, thing text not null references thing (id), note text default 'none')",
        );
        await em.execute("create index child_thing on child (thing)");
        await em.execute("insert into child (id, thing, note) values (1, 'thing-0001', ?)", ["ü\n{\"}'\\ \u2028 ?"]);
      });
    });
    afterAll(async () => {
      await replica?.close();
      await source?.drop();
      await target?.drop();
      rmSync(folder, { recursive: true, force: true });
    });

    it("copies one moment while others write, and gives the restored log a new epoch", async () => {
      const random = seededRandom(7);
      let more = true;
      const writing = (async () => {
        while (more) await changeThings(replica.store, { ids: pickIds(random, 100, 20), random });
      })();
      const file = join(folder, "one");
      const before = await replica.log.cursor("things");
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(await backupDatabase(source.url, file)).toBe(true);
      expect(statSync(file).mode & 0o777).toBe(0o600);
      more = false;
      await writing;
      const inBackup = await replica.log.cursor("things");

      await restoreDatabase(file, target.url, { force: true });
      const restored = await openReplica(variant, target.url, name);
      // Rows and log agree with each other, as they were at one moment.
      const truth = await readTruth(restored.store);
      expect(truth.length).toBeGreaterThan(0);
      expect(truth).toEqual((await readTruth(replica.store)).slice(0, truth.length));
      expect(await restored.store.sql.query("select id, thing, note from child")).toEqual([
        { id: 1, thing: "thing-0001", note: "ü\n{\"}'\\ \u2028 ?" },
      ]);
      for (const after of [before, inBackup]) {
        const watch = restored.log.watch("things", { after, signal: new AbortController().signal });
        await expect(watch.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "EpochChanged" });
      }
      // It works on: sequences of migrations, counters, indexes and foreign keys are there.
      await changeThings(restored.store, { ids: pickIds(random, 100, 20), random });
      await readTruth(restored.store);
      const orphan = restored.store.transaction(({ em }) => em.execute("insert into child (id, thing) values (2, 'nobody')"));
      await expect(orphan).rejects.toThrow(/foreign key/i);
      await restored.close();
      // And a second copy of the restored one is the same again.
      await backupDatabase(target.url, join(folder, "two"));
    });

    it("overwrites neither a file nor a database without being told to", async () => {
      const file = join(folder, "three");
      await backupDatabase(source.url, file);
      await expect(backupDatabase(source.url, file)).rejects.toThrow(/exists already/);
      await expect(restoreDatabase(file, target.url)).rejects.toThrow(/exists already|is not empty/);
    });

    it("refuses a damaged copy and leaves the database as it was", async () => {
      const whole = join(folder, "four");
      await backupDatabase(source.url, whole);
      const content = readFileSync(whole);
      const damaged = join(folder, "damaged");
      const damages: Array<() => void> = [
        () => truncateSync(damaged, Math.floor(content.length / 2)),
        () => writeFileSync(damaged, "nothing of the kind\n"),
        () => writeFileSync(damaged, content.subarray(0, content.length - 20)),
      ];
      for (const damage of damages) {
        writeFileSync(damaged, content);
        damage();
        await expect(restoreDatabase(damaged, target.url, { force: true })).rejects.toThrow(/damaged/);
      }
      const store = await openThings(target.url, name);
      expect(await store.read((em) => em.count(Thing))).toBe(101);
      await store.close();
    });
  });
}
