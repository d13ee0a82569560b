import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openStore } from "../../../subgraphs/kit/store/orm.ts";
import { NodeInventoryPart } from "../../../subgraphs/nodes/entities/node-inventory-part.ts";
import { openNodesStore } from "../../../subgraphs/nodes/main.ts";
import { CreateNodeInventories20261125 } from "../../../subgraphs/nodes/migrations/create-node-inventories.ts";
import { silent } from "../../support/event-log-variants.ts";
import { NODES_VARIANTS } from "../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { temporaryDatabases } from "../../support/temporary-databases.ts";

const HARDWARE = { cpu: { threads: 8, caches: [] }, memory: { totalBytes: 2 ** 40 }, numa: [], hugePages: [], unavailable: [] };
const OBSERVED = new Date("2026-11-25T10:00:00.123Z");

for (const variant of NODES_VARIANTS) {
  describeWithPeers(`a database of the first version, on ${variant.name}`, variant.peers, () => {
    test("its inventories are the part HARDWARE of their nodes", async () => {
      const { url, drop } = variant.name === "SQLite" ? await sqliteDatabase() : await postgresqlDatabase();
      try {
        const old = await openStore({ name: "nodes", url, entities: [], migrations: [CreateNodeInventories20261125], log: silent });
        const hardware = JSON.stringify(HARDWARE);
        await old.transaction(({ em }) =>
          em.execute("insert into node_inventory (node_id, digest, hardware, observed_at, reported_at) values ('node-1', 'abc', ?, ?, ?)", [
            hardware,
            OBSERVED,
            OBSERVED,
          ]),
        );
        await old.close();
        const store = await openNodesStore(url, silent);
        const rows = await store.read((em) => em.find(NodeInventoryPart, {}));
        expect(rows.map((row) => ({ ...row }))).toEqual([
          { nodeId: "node-1", part: "HARDWARE", digest: "abc", content: HARDWARE, observedAt: OBSERVED, reportedAt: OBSERVED },
        ]);
        await store.close();
      } finally {
        await drop();
      }
    });
  });
}

async function sqliteDatabase() {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-older-"));
  return { url: `sqlite:${join(directory, "nodes.db")}`, drop: () => rm(directory, { recursive: true, force: true }) };
}

async function postgresqlDatabase() {
  const { urls, drop } = await temporaryDatabases(["nodes"]);
  return { url: urls.nodes, drop };
}
