import { ComputeFleet } from "../support/compute-fleet.ts";
import { writeKubeconfig } from "../support/kubernetes/kubeconfig.ts";
import { makeNode, makePods } from "../support/kubernetes/objects.ts";
import { HangingServer } from "../support/kubernetes/odd-servers.ts";
import { TestEtcd } from "../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../support/kubernetes/test-kubernetes.ts";
import { percentile } from "../support/statistics.ts";

/**
 * What one cluster's trouble costs the others: `node --experimental-transform-types test/bench/kubernetes-clusters.ts [200]`, after
 * `npm run build`. Two real API servers behind `fleetgraph up`; the second one's nodes and 100 of its 500 pods are asked for while the first
 * one answers, is killed, hangs, and while 10 of 50 registered clusters are sockets that take connections and say nothing. Then all
 * clusters in one query.
 */
const ROUNDS = Number(process.argv[2] ?? 200);
const CLUSTERS = 50;
const HANGING = 10;
const CREATE = "mutation ($input: CreateKubernetesClusterInput!) { createKubernetesCluster(input: $input) { kubernetesCluster { id } } }";
const ONE = `query ($id: ID!) { kubernetesCluster(id: $id) { healthStatus podCount nodes { nodes { name ready } }
  pods(first: 100) { nodes { namespace name phase nodeName containers { name ready restarts } } } } }`;
const ALL = "{ kubernetesClusters(first: 100) { nodes { name healthStatus nodes { nodes { name ready } } } } }";

await using cleanUp = new AsyncDisposableStack();
const etcd = cleanUp.use(await TestEtcd.start());
const first = cleanUp.use(await TestKubernetes.start({ etcd }));
const second = cleanUp.use(await TestKubernetes.start({ etcd }));
const fleet = cleanUp.use(await ComputeFleet.start({ hosts: [], environment: { FLEETGRAPH_KUBERNETES_CHECK_INTERVAL: "5s" } }));
for (const cluster of [first, second]) await makeNode(cluster, "worker");
await makePods(second, 500, { nodeName: "worker" });
await create("first", first.kubeconfig());
const id = await create("second", second.kubeconfig());
await measure("the other cluster answers", ONE, ROUNDS);
await first.kill();
await measure("the other cluster was killed", ONE, ROUNDS);
await first.start();
first.freeze();
await measure("the other cluster hangs", ONE, ROUNDS);
first.thaw();
for (let index = 2; index < CLUSTERS; index += 1) {
  const isHanging = index < 2 + HANGING;
  const server = isHanging ? cleanUp.use(await HangingServer.start()) : null;
  await create(`more-${index}`, server === null ? second.kubeconfig() : writeKubeconfig({ server: server.url }));
}
await measure(`${HANGING} of ${CLUSTERS} hang`, ONE, ROUNDS);
await measure(`all ${CLUSTERS} in one query, ${HANGING} of them hanging`, ALL, Math.ceil(ROUNDS / 20));

async function create(name: string, kubeconfig: string): Promise<string> {
  return (await fleet.query(CREATE, { input: { name, kubeconfig, force: true, discoverPrometheus: false } })).createKubernetesCluster
    .kubernetesCluster.id;
}

async function measure(what: string, query: string, rounds: number): Promise<void> {
  const times: number[] = [];
  for (let round = -3; round < rounds; round += 1) {
    const since = performance.now();
    await fleet.ask(query, { id });
    if (round >= 0) times.push(performance.now() - since);
  }
  const show = (share: number) => percentile(times, share).toFixed(0);
  process.stdout.write(`${what}: p50 ${show(0.5)} ms, p99 ${show(0.99)} ms (${rounds})\n`);
}
