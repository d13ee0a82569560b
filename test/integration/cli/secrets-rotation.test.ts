import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { rotateSecrets } from "../../../cli/secrets/rotate.ts";
import { loadConfig } from "../../../platform/config/load-config.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { systemContext } from "../../../platform/request-context.ts";
import { SECRET_KEYS_FILE, SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import { openComputeStore } from "../../../subgraphs/compute/main.ts";
import { RegistryCredentials } from "../../../subgraphs/compute/services/images/registry-credentials.ts";
import type { Store } from "../../../subgraphs/kit/store/orm.ts";
import { BridgedHost } from "../../../subgraphs/nodes/entities/bridged-host.ts";
import { openNodesStore } from "../../../subgraphs/nodes/main.ts";
import { HostSecrets } from "../../../subgraphs/nodes/services/hosts/host-secrets.ts";
import { CLUSTERS_VARIANTS, ClustersFleet } from "../../support/clusters-fleet.ts";
import { KubernetesClustersUser, unreachableKubeconfig } from "../../support/kubernetes-clusters.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { temporaryDatabases } from "../../support/temporary-databases.ts";

const log = createLogger({ name: "test", level: "silent" });
const ctx = systemContext("test", new AbortController().signal, log);

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`the rotation of secrets on ${variant.name}`, variant.peers, () => {
    let closers: Array<() => unknown> = [];
    let dir: string;
    let fleet: ClustersFleet;
    let urls: { nodes: string; compute: string };
    let keyFile: string;

    beforeEach(async () => {
      dir = mkdtempSync(join(tmpdir(), "fleetgraph-rotation-"));
      closers = [() => rmSync(dir, { recursive: true, force: true })];
      fleet = await ClustersFleet.open(variant.name);
      closers.push(() => fleet.close());
      keyFile = join(fleet.secretsDir, SECRET_KEYS_FILE);
      urls = { nodes: `sqlite:${join(dir, "nodes.db")}`, compute: `sqlite:${join(dir, "compute.db")}` };
      if (variant.name === "SQLite") return;
      const databases = await temporaryDatabases(["nodes", "compute"]);
      closers.push(() => databases.drop());
      urls = databases.urls;
    });
    afterEach(async () => {
      for (const close of closers.reverse()) await close();
    });

    const rotate = (resume = false) => {
      const databases = { "database.clusters": fleet.databaseUrl, "database.nodes": urls.nodes, "database.compute": urls.compute };
      const flags = { dataDir: dir, "secrets.keyDir": fleet.secretsDir, ...databases };
      return rotateSecrets(loadConfig("secrets", { file: null, environment: {}, flags }).config, { resume }, log);
    };
    const keys = () =>
      readFileSync(keyFile, "utf8")
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("#"));
    const keepNewestKey = () => writeFileSync(keyFile, `${keys().at(-1)}\n`);
    const opened = (store: Store) => {
      closers.push(() => store.close());
      return store;
    };

    it("seals what is in all databases with a new key, so that the former ones can go", async () => {
      const replica = await fleet.replica();
      const admin = new KubernetesClustersUser(fleet, replica);
      const kubeconfig = unreachableKubeconfig();
      const { id } = await admin.create("kept", { kubeconfig });
      const former = await SecretKeys.open(fleet.secretsDir);
      const nodes = opened(await openNodesStore(urls.nodes, log));
      const host = await addHost(nodes, former);
      const compute = opened(await openComputeStore(urls.compute, log));
      const account = { registry: "registry.example", username: "puller", password: "a password" };
      await new RegistryCredentials({ store: compute, secrets: former, directory: null as never }).set(ctx, account);

      const done = (counts: number[]) =>
        ["clusters", "nodes", "compute"].map((name, index) => `database ${name}: secrets sealed anew: ${counts[index]}`);
      expect(await rotate()).toEqual(done([1, 1, 1]));
      expect(keys()).toHaveLength(2);
      expect(statSync(keyFile).mode & 0o777).toBe(0o600);
      // Cut off and gone on with: nothing is left to do, and no key is added.
      expect(await rotate(true)).toEqual(done([0, 0, 0]));
      expect(keys()).toHaveLength(2);
      keepNewestKey();
      const newest = await SecretKeys.open(fleet.secretsDir);
      const read = await admin.query("query ($id: ID!) { kubernetesCluster(id: $id) { kubeconfig } }", { id });
      expect(Buffer.from(read.kubernetesCluster.kubeconfig, "base64").toString()).toBe(kubeconfig);
      const row = await nodes.read((em) => em.findOneOrFail(BridgedHost, { id: host }, { populate: ["sealedCredentials"] }));
      expect(await new HostSecrets(nodes, newest).open(row)).toEqual({ password: "of the host", privateKey: null, passphrase: null });
      const [sealed] = await compute.sql.query<{ box: string }>("select sealed_password as box from registry_credential", []);
      expect(newest.isNewest(sealed!.box)).toBe(true);
    });

    it("loses nothing that a running server stores meanwhile", async () => {
      const replica = await fleet.replica();
      const admin = new KubernetesClustersUser(fleet, replica);
      const kubeconfigs = new Map<string, string>();
      const ids: string[] = [];
      for (let index = 0; index < 4; index += 1) ids.push((await admin.create(`c-${index}`)).id);
      const change = async (id: string) => {
        for (let round = 0; round < 4; round += 1) {
          const kubeconfig = unreachableKubeconfig({ context: `r-${round}` });
          await admin.call("update", { id, kubeconfig, force: true });
          kubeconfigs.set(id, kubeconfig);
        }
      };
      await Promise.all([...ids.map(change), rotate().then(() => rotate())]);
      expect(keys()).toHaveLength(3);
      await rotate(true);
      keepNewestKey();
      // A server that knows the newest key alone.
      const restarted = new KubernetesClustersUser(fleet, await fleet.replica());
      for (const [id, kubeconfig] of kubeconfigs) {
        const read = await restarted.query("query ($id: ID!) { kubernetesCluster(id: $id) { kubeconfig } }", { id });
        expect(Buffer.from(read.kubernetesCluster.kubeconfig, "base64").toString()).toBe(kubeconfig);
      }
    });

    it("tells of what cannot be opened, does the rest, and leaves out databases that are not there", async () => {
      const admin = new KubernetesClustersUser(fleet, await fleet.replica());
      await admin.create("lost");
      writeFileSync(keyFile, `${Buffer.alloc(32, 7).toString("base64")}\n`);
      if (variant.name === "SQLite") urls = { nodes: `sqlite:${join(dir, "none.db")}`, compute: `sqlite:${join(dir, "neither.db")}` };
      const refusal = await rotate().catch((error: Error) => error.message);
      expect(refusal).toContain("could not be opened, and stay as they are: 1.");
      expect(refusal).toContain("database nodes: left out, there is none yet");
    });
  });
}

async function addHost(store: Store, keys: SecretKeys): Promise<string> {
  const host = { id: "host-1", uri: "qemu+ssh://root@host/system" };
  const credentials = { password: "of the host", privateKey: null, passphrase: null };
  const sealedCredentials = new HostSecrets(store, keys).seal(host, credentials);
  const row = {
    ...{ ...host, sealedCredentials, nodeId: null, hostname: "host", kind: "COMPUTE" as const, state: "READY" as const, agentId: null },
    ...{ generation: 0, hostKeys: [], hostUuid: null, bootId: null, clientRequestId: null, addedBy: "a test", claim: 0, leaseUntil: 0 },
    ...{ settings: { region: null, zone: null, labels: {}, probed: null }, assignedAt: 0, createdAt: new Date() },
  };
  await store.transaction(async ({ em }) => void em.persist(em.create(BridgedHost, row)));
  return host.id;
}
