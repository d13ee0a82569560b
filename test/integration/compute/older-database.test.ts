import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Instance } from "../../../subgraphs/compute/entities/instance.ts";
import { openComputeStore } from "../../../subgraphs/compute/main.ts";
import { CreateInstances20261128 } from "../../../subgraphs/compute/migrations/create-instances.ts";
import { openStore } from "../../../subgraphs/kit/store/orm.ts";
import { COMPUTE_VARIANTS } from "../../support/compute-control-plane.ts";
import { silent } from "../../support/event-log-variants.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { temporaryDatabases } from "../../support/temporary-databases.ts";

/** As the first version stored it. */
const SPEC = { image: null, cpuCores: 1, memoryBytes: 1, disks: [], kernel: "vmlinuz", cloudInit: null };

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`a database of the first version, on ${variant.name}`, variant.peers, () => {
    test("its instances have what came since, empty, and are otherwise as they were", async () => {
      const { url, drop } = variant.name === "SQLite" ? await sqliteDatabase() : await postgresqlDatabase();
      try {
        const old = await openStore({ name: "compute", url, entities: [], migrations: [CreateInstances20261128], log: silent });
        await old.transaction(({ em }) =>
          em.execute(
            `insert into instance (id, name, name_folded, type, state, made, managed, node_id, generation, revision, applied_revision, restarts, force,
             stop_timeout_seconds, ip_addresses, spec, secrets, cpu_cores, memory_bytes, disk_bytes, gpu_count, labels, annotations, created_at, updated_at)
             values ('inst-old', 'old', 'old', 'VM', 'RUNNING', true, true, 'node-1', 1, 1, 1, 0, false, 0, '[]', ?, '{}', 1, 1, 0, 0, '{}', '{}', ?, ?)`,
            [JSON.stringify(SPEC), new Date(), new Date()],
          ),
        );
        await old.close();
        const store = await openComputeStore(url, silent);
        const { spec, suspendToDisk } = await store.read((em) => em.findOneOrFail(Instance, { id: "inst-old" }));
        expect({ spec, suspendToDisk }).toEqual({ spec: { ...SPEC, volumes: [], interfaces: [] }, suspendToDisk: false });
        await store.close();
      } finally {
        await drop();
      }
    });
  });
}

async function sqliteDatabase() {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-older-"));
  return { url: `sqlite:${join(directory, "compute.db")}`, drop: () => rm(directory, { recursive: true, force: true }) };
}

async function postgresqlDatabase() {
  const { urls, drop } = await temporaryDatabases(["compute"]);
  return { url: urls.compute, drop };
}
