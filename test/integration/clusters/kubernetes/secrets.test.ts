import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Writable } from "node:stream";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica } from "../../../support/clusters-fleet.ts";
import { writeKubeconfig } from "../../../support/kubernetes/kubeconfig.ts";
import { TestAuthority } from "../../../support/kubernetes/test-authority.ts";
import { KubernetesClustersUser, unreachableKubeconfig } from "../../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`the secrets of kubeconfigs on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;
    let admin: KubernetesClustersUser;
    let logged = "";

    beforeAll(async () => {
      const destination = new Writable({
        write(chunk, _encoding, done) {
          logged += chunk;
          done();
        },
      });
      fleet = await ClustersFleet.open(variant.name, createLogger({ name: "test", level: "trace", destination }));
      replica = await fleet.replica();
      admin = new KubernetesClustersUser(fleet, replica);
    });
    afterAll(() => fleet?.close());

    test("are in no table, no log line, no event and no error, whatever is done with a cluster", async () => {
      const told: string[] = [];
      const watching = watch(told);
      const tokens = Array.from({ length: 4 }, () => randomBytes(24).toString("base64url"));
      const authority = await TestAuthority.create("test");
      const certificate = await authority.sign({ commonName: "fleetgraph" });
      const server = "https://127.0.0.1:1";
      const { id } = await admin.create("kept", { kubeconfig: unreachableKubeconfig({ token: tokens[0]! }), enabled: true });
      await admin.create("by certificate", { kubeconfig: writeKubeconfig({ server, credentials: certificate }), enabled: true });
      told.push(JSON.stringify(await admin.list()));
      await admin.call("update", { id, kubeconfig: unreachableKubeconfig({ token: tokens[1]! }), force: true });
      // What is refused may hold a secret as well.
      for (const kubeconfig of [
        unreachableKubeconfig({ token: tokens[2]! }),
        unreachableKubeconfig({ token: tokens[2]! }).replace("token:", "token: {"),
        unreachableKubeconfig({ token: tokens[2]! }).replace("user: test-user", "user: nobody"),
        `users: [{name: x, user: {exec: {command: ${tokens[2]}}}}]\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: []`,
      ]) {
        told.push(JSON.stringify(await admin.refused("create", { name: "refused", kubeconfig })));
        told.push(JSON.stringify(await admin.refused("update", { id, kubeconfig })));
      }
      await until(() => told.some((text) => text.includes("ConnectionRefused")), "a check of it");
      const { kubernetesCluster } = await admin.query("query ($id: ID!) { kubernetesCluster(id: $id) { kubeconfig } }", { id });
      expect(Buffer.from(kubernetesCluster.kubeconfig, "base64").toString()).toContain(tokens[1]);
      const gone = await admin.create("gone", { kubeconfig: unreachableKubeconfig({ token: tokens[3]! }) });
      await admin.call("delete", { id: gone.id });
      await watching.until(gone.id);
      const key = certificate.keyPem.split("\n").filter((line) => line !== "" && !line.startsWith("-"));
      const needles = [...tokens, ...key].flatMap((secret) => [secret, ...inBase64(secret)]);
      const places = { tables: await tables(), log: logged, told: told.join("\n") };
      // Each place holds what it should, so that the search means something.
      for (const text of Object.values(places)) expect(text).toContain(id);
      expect(places.tables).toContain("fg1.");
      for (const [place, text] of Object.entries(places)) {
        for (const needle of needles) expect(text.includes(needle), `${needle} in ${place}`).toBe(false);
      }
    });

    test("each reading of one is logged with who read it", async () => {
      const { id } = await admin.create("read", { enabled: false });
      logged = "";
      await admin.query("query ($id: ID!) { kubernetesCluster(id: $id) { kubeconfig } }", { id });
      await admin.query("query ($id: ID!) { kubernetesCluster(id: $id) { name } }", { id });
      const lines = logged.split("\n").filter((line) => line.includes("a kubeconfig is read") && line.includes(id));
      expect(lines.map((line) => JSON.parse(line))).toMatchObject([
        { kubernetesCluster: id, name: "read", by: "a admin", why: "to show it" },
      ]);
    });

    /** All that the database holds, as text. */
    async function tables(): Promise<string> {
      if (variant.name === "SQLite") {
        const dir = dirname(new URL(fleet.databaseUrl).pathname);
        const files = readdirSync(dir).filter((name) => name.startsWith("clusters.db"));
        return files.map((name) => readFileSync(join(dir, name), "latin1")).join("\n");
      }
      const client = new pg.Client({ connectionString: fleet.databaseUrl });
      await client.connect();
      try {
        const { rows } = await client.query("select tablename as name from pg_tables where schemaname = 'public'");
        let text = "";
        for (const { name } of rows) text += JSON.stringify((await client.query(`select t::text as row from "${name}" t`)).rows);
        return text;
      } finally {
        await client.end();
      }
    }

    function watch(told: string[]) {
      const query = `subscription { kubernetesClusterEvents { type kubernetesCluster { id name context contexts { name cluster user server problem }
        healthStatus healthReason healthMessage prometheus { url } } } }`;
      const run = async () => {
        const headers = await fleet.headers("viewer");
        for await (const result of replica.subgraph.handler.subscribe({ query, headers })) told.push(JSON.stringify(result));
      };
      void run();
      return {
        until: (id: string) => until(() => told.some((text) => text.includes("DELETED") && text.includes(id)), "the last event"),
      };
    }
  });
}

/** As it would stand within a text in base64, at each of the three places it can begin at. */
function inBase64(secret: string): string[] {
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)])
      .toString("base64")
      .replace(/=+$/, "");
    // What the neighbours have a part in is cut off.
    return encoded.slice(4, -2);
  });
}
