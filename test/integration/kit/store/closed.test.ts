import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { openStore } from "../../../../subgraphs/kit/store/orm.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { temporaryDatabases } from "../../../support/temporary-databases.ts";

const log = createLogger({ name: "test", level: "silent" });
const closedIsAway = async (url: string) => {
  const store = await openStore({ name: "closed", url, entities: [], migrations: [], log });
  await store.close();
  const refused = { code: "UNAVAILABLE", reason: "DatabaseUnavailable" };
  await expect(store.read((em) => em.execute("select 1"))).rejects.toMatchObject(refused);
  await expect(store.transaction(async ({ em }) => em.execute("select 1"))).rejects.toMatchObject(refused);
};

test("who still asks an SQLite store that was closed is told that it is away", async () => {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-closed-"));
  try {
    await closedIsAway(`sqlite:${join(directory, "closed.db")}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

describeWithPeers("a store that was closed, on PostgreSQL", ["postgresql"], () => {
  test("is away for who still asks it", async () => {
    const databases = await temporaryDatabases(["closed"] as const);
    try {
      await closedIsAway(databases.urls.closed);
    } finally {
      await databases.drop();
    }
  });
});
