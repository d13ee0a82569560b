import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../../platform/observability/log.ts";
import { type RequestContext, systemContext } from "../../../platform/request-context.ts";
import { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { CertificateAuthority } from "../../../platform/tls/certificate-authority.ts";
import { DEFAULT_CLUSTERS_CONFIG } from "../../../subgraphs/clusters/config.ts";
import { openClustersStore } from "../../../subgraphs/clusters/main.ts";
import { ClustersServices } from "../../../subgraphs/clusters/services/clusters-services.ts";
import { InProcessBus } from "../../../subgraphs/kit/events/bus.ts";
import { EventLog } from "../../../subgraphs/kit/events/event-log.ts";
import type { Store } from "../../../subgraphs/kit/store/orm.ts";

const log = createLogger({ name: "test", level: "silent" });

describe("leases by a clock that the test moves", () => {
  let dir: string;
  let store: Store;
  let services: ClustersServices;
  let ctx: RequestContext;
  let nodeId: string;
  let now = 0;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "fleetgraph-pauses-"));
    store = await openClustersStore(`sqlite:${join(dir, "clusters.db")}`, log);
    ctx = systemContext("test", AbortSignal.timeout(60_000), log);
    const authority = await CertificateAuthority.open(join(dir, "ca"));
    const config = DEFAULT_CLUSTERS_CONFIG;
    const secrets = await SecretKeys.open(join(dir, "secrets"));
    const eventLog = new EventLog(store, new InProcessBus());
    services = new ClustersServices({ store, log: eventLog, authority, secrets, config, ctx, clock: () => now });
    const node = await services.registration.register(ctx, {
      hostname: "host",
      ip: "10.0.0.1",
      port: 50052,
      role: "WORKER",
      capacity: { cpuCores: 1, memoryBytes: 1 },
      supportedInstanceTypes: [],
    });
    nodeId = node.id;
    await services.heartbeats.take(ctx, { nodeId, status: "READY" });
  });
  afterEach(async () => {
    await services.leases.stop();
    await store.close();
    await rm(dir, { recursive: true, force: true });
  });

  const status = async () => (await services.queries.get(ctx, nodeId)).status;
  /** Time passes as it does for a process that runs. */
  async function run(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      now += 1_000;
      await services.leases.sweep();
    }
  }

  test("a node is UNKNOWN 30 s after its last heartbeat, and not before", async () => {
    await run(29);
    expect(await status()).toBe("READY");
    await services.heartbeats.take(ctx, { nodeId, status: "READY" });
    await run(29);
    expect(await status()).toBe("READY");
    await run(1);
    expect(await status()).toBe("UNKNOWN");
  });

  test("a pause of the process itself is nobody's fault: every node gets a full lease", async () => {
    await run(20);
    now += 3_600_000;
    await run(29);
    expect(await status()).toBe("READY");
    await run(2);
    expect(await status()).toBe("UNKNOWN");
  });

  test("a counter that another replica moved renews the lease when it is seen", async () => {
    await run(26);
    // As the batch of another replica would; seen at 30 s, with the next exchange.
    await store.transaction(({ em }) => em.execute("update node_liveness set beats = beats + 1", [], "run"));
    await run(33);
    expect(await status()).toBe("READY");
    await run(1);
    expect(await status()).toBe("UNKNOWN");
  });

  test("what was heard is written when the process stops", async () => {
    await services.leases.stop();
    const rows = await store.sql.query<{ last_seen: number; beats: number }>("select last_seen, beats from node_liveness");
    expect(rows).toEqual([{ last_seen: expect.any(Number), beats: 1 }]);
  });
});
