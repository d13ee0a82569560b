import { LockMode, UniqueConstraintViolationException } from "@mikro-orm/sqlite";
import { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Store } from "../../../../subgraphs/kit/store/orm.ts";
import { openThings, type TestDatabase, uniqueName, VARIANTS } from "../../../support/event-log-variants.ts";
import { POSTGRESQL_URL } from "../../../support/peer-addresses.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { Thing, thingId } from "../../../support/things.ts";
import { until } from "../../../support/until.ts";

const row = (id: string) => ({ id, count: 0, color: "none", alive: true, changedAt: new Date(1_234_567_890_123) });

for (const variant of VARIANTS) {
  const name = variant.name.split(" ")[0] as string;
  describeWithPeers(`the store on ${name}`, variant.peers, () => {
    let database: TestDatabase;
    let store: Store;
    let twin: Store;

    beforeAll(async () => {
      database = await variant.database();
      // Two replicas that start at once on an empty database: both migrate.
      const stores = await Promise.all([openThings(database.url, "one"), openThings(database.url, "two")]);
      [store, twin] = stores;
      await store.transaction(async ({ em }) => em.insertMany(Thing, [row("a"), row("b"), row("c")]));
    });
    afterAll(async () => {
      await store?.close();
      await twin?.close();
      await database?.drop();
    });

    it("was migrated once by two replicas that started at once, and starts again without doing anything", async () => {
      const again = await openThings(database.url, "three");
      const migrations = await again.sql.query<{ name: string }>("select name from mikro_orm_migrations order by id");
      expect(migrations.map((migration) => migration.name)).toEqual(["CreateEventLog20261101", "CreateThings20261101"]);
      await again.close();
    });

    it("gives dates, booleans and numbers back as they were", async () => {
      const thing = await store.read((em) => em.findOneOrFail(Thing, { id: "c" }));
      expect(thing).toMatchObject({ alive: true, count: 0, changedAt: new Date(1_234_567_890_123) });
    });

    it("loses no change of two writers that lock what they read", async () => {
      const raise = (from: Store) =>
        from.transaction(async ({ em }) => {
          const thing = await em.findOneOrFail(Thing, { id: "a" }, { lockMode: LockMode.PESSIMISTIC_WRITE });
          thing.count += 1;
        });
      await Promise.all(Array.from({ length: 40 }, (_, index) => raise(index % 2 ? store : twin)));
      expect((await store.read((em) => em.findOneOrFail(Thing, { id: "a" }))).count).toBe(40);
    });

    it("runs a transaction again that lost a deadlock", async () => {
      let runs = 0;
      const crosswise = (from: Store, first: string, second: string) =>
        from.transaction(async ({ em }) => {
          runs += 1;
          for (const id of [first, second]) {
            const thing = await em.findOneOrFail(Thing, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
            thing.count += 1;
            await em.flush();
          }
        });
      const before = await store.read((em) => em.findOneOrFail(Thing, { id: "b" }));
      await Promise.all([crosswise(store, "b", "c"), crosswise(twin, "c", "b")]);
      expect((await store.read((em) => em.findOneOrFail(Thing, { id: "b" }))).count).toBe(before.count + 2);
      expect(runs).toBeGreaterThanOrEqual(2);
    });

    it("refuses with a clear error what would hang inside a transaction", async () => {
      const attempts: Array<() => Promise<unknown>> = [
        () => store.transaction(() => store.transaction(async () => 1)),
        () => store.transaction(() => twin.transaction(async () => 1)),
        () => store.transaction(() => store.read(async () => 1)),
        () => store.transaction(({ em }) => em.fork().transactional(async () => 1)),
        () => store.transaction(({ em }) => em.getConnection().execute("select 1")),
        () => store.transaction(() => store.sql.query("select 1")),
      ];
      for (const attempt of attempts) await expect(attempt()).rejects.toThrow(/inside a transaction of store/);
      // And afterwards all is well.
      expect(await store.read((em) => em.count(Thing))).toBe(3);
      expect(await store.transaction(async ({ em }) => em.transactional((nested) => nested.count(Thing)))).toBe(3);
    });

    it("lets what a transaction left running in the background use the store afterwards", async () => {
      let later: Promise<number> | null = null;
      await store.transaction(async () => {
        later = new Promise((resolve) => setTimeout(resolve, 20)).then(() => store.read((em) => em.count(Thing)));
      });
      expect(await later).toBe(3);
    });

    it("passes a violated constraint on, rolls back, and goes on", async () => {
      const doubled = store.transaction(async ({ em }) => {
        await em.insert(Thing, row("d"));
        await em.insert(Thing, row("a"));
      });
      await expect(doubled).rejects.toBeInstanceOf(UniqueConstraintViolationException);
      expect(await store.read((em) => em.count(Thing))).toBe(3);
    });

    it("refuses a MODIFIED event without its previous state", async () => {
      const emitting = store.transaction(async ({ emit }) =>
        emit("things", { type: "MODIFIED", objectId: thingId(1), object: { id: thingId(1) }, previous: null }),
      );
      await expect(emitting).rejects.toThrow(TypeError);
    });

    it("says whether it can be reached", async () => {
      const other = await openThings(database.url, uniqueName());
      expect(await other.isReachable()).toBe(true);
      await other.close();
      expect(await other.isReachable()).toBe(false);
    });
  });
}

describeWithPeers("the store on PostgreSQL", "postgresql", () => {
  const variant = VARIANTS.find((each) => each.peers.includes("postgresql"));
  let database: TestDatabase;

  beforeAll(async () => {
    if (!variant) throw new Error("There is no variant with PostgreSQL.");
    database = await variant.database();
    // Migrates it.
    await (await openThings(database.url, "first")).close();
  });
  afterAll(() => database?.drop());

  it("creates a database that is missing, also for two replicas at once", async () => {
    const missing = new URL(database.url);
    missing.pathname += "_made";
    const opened = await Promise.allSettled([openThings(missing.href, "one"), openThings(missing.href, "two")]);
    for (const each of opened) if (each.status === "fulfilled") await each.value.close();
    const client = new Client({ connectionString: database.url });
    await client.connect();
    await client.query(`drop database if exists ${missing.pathname.slice(1)} with (force)`);
    await client.end();
    expect(opened.map((each) => (each.status === "fulfilled" ? "opened" : String(each.reason)))).toEqual(["opened", "opened"]);
  });

  it("ends a statement that takes too long with DEADLINE_EXCEEDED", async () => {
    const store = await openThings(database.url, "hurried", { statementTimeoutMs: 1000 });
    try {
      await expect(store.transaction(({ em }) => em.execute("select pg_sleep(50)"))).rejects.toMatchObject({
        code: "DEADLINE_EXCEEDED",
        reason: "StatementTimeout",
      });
    } finally {
      await store.close();
    }
  });

  it("survives the loss of all of its connections, without losing places in the pool", async () => {
    const name = uniqueName();
    const store = await openThings(database.url, name, { maxConnections: 2, statementTimeoutMs: 120_000 });
    const admin = new Client({ connectionString: POSTGRESQL_URL });
    await admin.connect();
    const sessions = `from pg_stat_activity where application_name = 'fleetgraph-${name}'`;
    // Returns when the server has ended them: one that is still ending would fail a later step.
    const cutAll = async () => {
      const { rows } = await admin.query<{ pid: number }>(`select pid, pg_terminate_backend(pid) ${sessions}`);
      const pids = rows.map(({ pid }) => pid);
      const left = () => admin.query("select 1 from pg_stat_activity where pid = any($1)", [pids]);
      await until(async () => (await left()).rowCount === 0, "the sessions to end");
      return pids.length;
    };
    const bothAreBusy = async () =>
      (await admin.query(`select 1 ${sessions} and state = 'active' and query like '%pg_sleep%'`)).rowCount === 2;
    const count = () => store.transaction(({ em }) => em.count(Thing));
    try {
      for (let round = 0; round < 5; round += 1) {
        // Ends by the cut alone: it sleeps for longer than the test may take.
        const busy = Promise.allSettled([1, 2].map(() => store.transaction(({ em }) => em.execute("select pg_sleep(100)"))));
        await until(bothAreBusy, "two running statements");
        expect(await cutAll()).toBe(2);
        for (const result of await busy) {
          expect(result).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE", reason: "DatabaseUnavailable" } });
        }
        await until(() => store.isReachable(), "a new connection");
        // More at once than the pool has places: each place works, and is given back.
        expect(await Promise.all([1, 2, 3, 4].map(count))).toEqual([0, 0, 0, 0]);
        await cutAll();
        // Some meet a connection that is gone already, at their begin; those places must come back too.
        await Promise.allSettled([1, 2, 3, 4].map(count));
        await until(() => store.isReachable(), "a new connection");
      }
      expect(await Promise.all([1, 2, 3].map(count))).toEqual([0, 0, 0]);
    } finally {
      // Where a step has failed, a statement may still sleep; closing would wait for it.
      await cutAll();
      await admin.end();
      await store.close();
    }
  });
});
