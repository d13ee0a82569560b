import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { backUp } from "../../../cli/backup/backup.ts";
import { restore } from "../../../cli/backup/restore.ts";
import { lockDataDirectory } from "../../../cli/process/data-lock.ts";
import { loadConfig } from "../../../platform/config/load-config.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { openStore } from "../../../subgraphs/kit/store/orm.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { temporaryDatabases } from "../../support/temporary-databases.ts";

const log = createLogger({ name: "test", level: "silent" });
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "fleetgraph-backup-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const configFor = (dataDir: string, flags: Record<string, string> = {}) =>
  loadConfig("backup", { file: null, environment: {}, flags: { dataDir: join(root, dataDir), ...flags } }).config;

/** A data directory as a running deployment has it: databases in use, keys. */
async function deployment(dataDir: string, url?: string) {
  const store = await openStore({
    name: "clusters",
    url: url ?? `sqlite:${join(root, dataDir, "clusters.db")}`,
    entities: [],
    migrations: [],
    log,
  });
  for (const [folder, file] of [
    ["ca", "ca.pem"],
    ["keys", "token-key.pem"],
  ] as const) {
    mkdirSync(join(root, dataDir, folder), { mode: 0o700, recursive: true });
    writeFileSync(join(root, dataDir, folder, file), `secret of ${folder}`, { mode: 0o600 });
  }
  return store;
}

function epochOf(dataDir: string): string {
  const database = new Database(join(root, dataDir, "clusters.db"), { readonly: true });
  const row = database.prepare("select epoch from event_state").get() as { epoch: string };
  database.close();
  return row.epoch;
}

describe("backup and restore", () => {
  it("bring databases and keys back, with a new epoch, in files that only their owner reads", async () => {
    mkdirSync(join(root, "data"));
    const store = await deployment("data");
    const told = await backUp(configFor("data"), join(root, "copy"));
    await store.close();
    expect(told).toContain("database clusters: clusters.db");
    expect(told).toContain("database nodes: left out, there is none yet");
    expect(statSync(join(root, "copy")).mode & 0o777).toBe(0o700);
    expect(statSync(join(root, "copy", "ca", "ca.pem")).mode & 0o777).toBe(0o600);
    expect(statSync(join(root, "copy", "clusters.db")).mode & 0o777).toBe(0o600);

    await restore(configFor("other"), join(root, "copy"), false);
    expect(readFileSync(join(root, "other", "ca", "ca.pem"), "utf8")).toBe("secret of ca");
    expect(statSync(join(root, "other", "keys", "token-key.pem")).mode & 0o777).toBe(0o600);
    expect(epochOf("other")).not.toBe(epochOf("data"));
  });

  it("refuse to overwrite without --force, and replace with it", async () => {
    mkdirSync(join(root, "data"));
    await (await deployment("data")).close();
    await backUp(configFor("data"), join(root, "copy"));
    await expect(restore(configFor("data"), join(root, "copy"), false)).rejects.toThrow(/already: --force/);
    writeFileSync(join(root, "data", "ca", "ca.pem"), "changed");
    await restore(configFor("data"), join(root, "copy"), true);
    expect(readFileSync(join(root, "data", "ca", "ca.pem"), "utf8")).toBe("secret of ca");
    expect(existsSync(join(root, "data", "ca.replaced"))).toBe(false);
    await expect(backUp(configFor("data"), join(root, "copy"))).rejects.toThrow(/not empty/);
  });

  it("refuse a backup with a file that was changed, removed or never finished", async () => {
    mkdirSync(join(root, "data"));
    await (await deployment("data")).close();
    await backUp(configFor("data"), join(root, "copy"));
    writeFileSync(join(root, "copy", "keys", "token-key.pem"), "forged");
    await expect(restore(configFor("other"), join(root, "copy"), false)).rejects.toThrow(
      /damaged: keys\/token-key.pem is not what was written/,
    );
    rmSync(join(root, "copy", "keys", "token-key.pem"));
    await expect(restore(configFor("other"), join(root, "copy"), false)).rejects.toThrow(/token-key.pem is missing/);
    rmSync(join(root, "copy", "manifest.json"));
    await expect(restore(configFor("other"), join(root, "copy"), false)).rejects.toThrow(/is not a backup/);
    expect(existsSync(join(root, "other", "clusters.db"))).toBe(false);
  });

  it("refuse to restore under a process that runs, and to back up nothing", async () => {
    mkdirSync(join(root, "data"));
    await (await deployment("data")).close();
    await backUp(configFor("data"), join(root, "copy"));
    const release = lockDataDirectory(join(root, "data"), "clusters");
    await expect(restore(configFor("data"), join(root, "copy"), true)).rejects.toThrow(/Another process works on the data directory/);
    expect(() => lockDataDirectory(join(root, "data"), "clusters")).toThrow(/Another process/);
    release();
    await restore(configFor("data"), join(root, "copy"), true);
    await expect(backUp(configFor("empty"), join(root, "copy2"))).rejects.toThrow(/no database to back up/);
  });
});

describe("a database that does not answer", () => {
  it("fails a backup in one line that names it, and what was written is no backup", async () => {
    mkdirSync(join(root, "data"));
    await (await deployment("data")).close();
    const silent = configFor("data", { "database.nodes": "postgresql://postgres@localhost:1/nodes" });
    await expect(backUp(silent, join(root, "copy"))).rejects.toThrow(/^The database of nodes: .*ECONNREFUSED/);
    await expect(restore(silent, join(root, "copy"), false)).rejects.toThrow(/is not a backup/);
  });
});

describeWithPeers("backup and restore of PostgreSQL", "postgresql", () => {
  it("bring the databases back with a new epoch, and only into databases of the same kind", async () => {
    const { urls, drop } = await temporaryDatabases(["clusters", "nodes", "restored", "rest"]);
    try {
      mkdirSync(join(root, "data"));
      const stores = await Promise.all([
        deployment("data", urls.clusters),
        openStore({ name: "nodes", url: urls.nodes, entities: [], migrations: [], log }),
      ]);
      const source = { "database.clusters": urls.clusters, "database.nodes": urls.nodes };
      await backUp(configFor("data", source), join(root, "copy"));
      await Promise.all(stores.map((store) => store.close()));
      await expect(restore(configFor("other"), join(root, "copy"), false)).rejects.toThrow(
        /is of postgresql, but database.clusters is sqlite/,
      );
      await expect(restore(configFor("other", source), join(root, "copy"), false)).rejects.toThrow(/the database of clusters already/);

      const target = { "database.clusters": urls.restored, "database.nodes": urls.rest };
      await restore(configFor("other", target), join(root, "copy"), false);
      expect(await postgresEpoch(urls.restored)).not.toBe(await postgresEpoch(urls.clusters));
      await restore(configFor("other", target), join(root, "copy"), true);
      const reopened = await openStore({ name: "clusters", url: urls.restored, entities: [], migrations: [], log });
      expect(await reopened.isReachable()).toBe(true);
      await reopened.close();
    } finally {
      await drop();
    }
  }, 60_000);
});

async function postgresEpoch(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ epoch: string }>("select epoch from event_state");
  await client.end();
  return String(rows[0]?.epoch);
}
