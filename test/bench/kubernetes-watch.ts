import { fork } from "node:child_process";
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { POD_KIND, watchTarget } from "../../subgraphs/clusters/services/kubernetes/objects/object-kinds.ts";
import { parseKubeconfig } from "../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { openKubernetes } from "../../subgraphs/kit/kubernetes/kubernetes-client.ts";
import { openReflector } from "../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import { SharedReflectors } from "../../subgraphs/kit/kubernetes/reflector/shared-reflectors.ts";
import { type KubernetesApi, PODS } from "../../subgraphs/kit/kubernetes/types.ts";
import { makePods, setPodStatus } from "../support/kubernetes/objects.ts";
import { TestKubernetes } from "../support/kubernetes/test-kubernetes.ts";
import { quietLog } from "../support/scripted-reflector.ts";
import { until } from "../support/until.ts";

/**
 * What a watched cluster of 5,000 pods takes of memory: `node test/bench/kubernetes-watch.ts [pods]`. A real API server; pods as large as
 * those of an application with two containers; counted by metadata, watched by one subscriber as `kubernetesPodEvents` does it, and changed.
 * "kept": heap and buffers after a full collection, less what there was before; "peak": the highest meanwhile, with what is to be collected.
 */
const POD_COUNT = Number(process.argv[2] ?? 5_000);
const CHANGES = 2_000;
const MIB = 1024 ** 2;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function used(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function settled(): Promise<number> {
  for (let round = 0; round < 4; round += 1) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return used();
}

/** In a process of its own, which has done nothing else. */
async function measure(kubeconfig: string, what: string): Promise<void> {
  const api = openKubernetes(parseKubeconfig(kubeconfig).access(null), { log: quietLog });
  await api.list(PODS, { limit: 50, signal: AbortSignal.timeout(10_000) });
  const [before, resident] = [await settled(), process.memoryUsage.rss()];
  let peak = 0;
  const sampling = setInterval(() => {
    peak = Math.max(peak, used());
  }, 5);
  const startedAt = performance.now();
  const end = what === "counted" ? await countAll(api) : await watchAll(api, what === "changed");
  const tookMs = performance.now() - startedAt;
  clearInterval(sampling);
  const rss = process.memoryUsage.rss() - resident;
  const kept = (await settled()) - before;
  const [keptMib, peakMib, rssMib] = [kept, peak - before, rss].map((bytes) => (bytes / MIB).toFixed(1));
  console.log(`${what}: kept ${keptMib} MiB; peak ${peakMib} MiB, resident set ${rssMib} MiB more; ${Math.round(tookMs)} ms`);
  await end();
  await api.close();
}

async function watchAll(api: KubernetesApi, changes: boolean): Promise<() => Promise<void>> {
  const shared = new SharedReflectors({ log: quietLog });
  const stop = new AbortController();
  const target = watchTarget(POD_KIND, { id: "cluster", revision: 1 }, { namespace: null, labelSelector: null, fieldSelector: null });
  const events = shared.subscribe(api, target, { snapshot: true, signal: stop.signal });
  let [told, jsonBytes] = [0, 0];
  for (let next = await events.next(); next.done !== true && next.value.type !== "BOOKMARK"; next = await events.next()) {
    told += 1;
    jsonBytes += JSON.stringify(next.value.object).length;
  }
  if (told !== POD_COUNT) throw new Error(`The snapshot has ${told} pods.`);
  console.log(`  of a pod are kept ${Math.round(jsonBytes / told)} characters`);
  if (changes) {
    process.send?.("watching");
    for (let count = 0; count < CHANGES; count += 1) await events.next();
  }
  return async () => {
    await events.return?.();
    shared.stop();
  };
}

async function countAll(api: KubernetesApi): Promise<() => Promise<void>> {
  const identity = { stream: "count", epoch: "" };
  const filter = { namespace: null, labelSelector: null, fieldSelector: null };
  const options = { api, kind: PODS, filter, identity, metadataOnly: true, persistent: true, log: quietLog, limits: { maxChanges: 1 } };
  const counted = openReflector({ ...options, project: () => true });
  await until(() => counted.size === POD_COUNT);
  return async () => counted.end(null);
}

const environment = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ name: `SETTING_${index}`, value: `value-of-${index}` }));
const resources = { requests: { cpu: "250m", memory: "256Mi" }, limits: { cpu: "1", memory: "512Mi" } };
const containers = ["application", "proxy"].map((name, index) => ({
  ...{ name, image: `registry.example.com/team/${name}:1.24.3`, env: environment(index === 0 ? 12 : 4), resources },
  ports: [{ containerPort: 8080 + index, name: "http" }],
  livenessProbe: { httpGet: { path: "/healthz", port: 8080 + index }, periodSeconds: 10 },
  readinessProbe: { httpGet: { path: "/readyz", port: 8080 + index }, periodSeconds: 5 },
}));
const labels = Object.fromEntries(
  ["name", "instance", "version", "component", "part-of", "managed-by"].map((key) => [`app.kubernetes.io/${key}`, `value-of-${key}`]),
);

function statusOf(restarts: number): object {
  const at = "2026-01-01T00:00:00Z";
  const conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
    type,
    status: "True",
    lastTransitionTime: at,
  }));
  const containerStatuses = containers.map(({ name, image }) => ({
    ...{ name, image, imageID: `${image}@sha256:${"0".repeat(64)}`, containerID: `containerd://${"0".repeat(64)}` },
    ...{ ready: true, restartCount: restarts, started: true, state: { running: { startedAt: at } } },
  }));
  return { phase: "Running", hostIP: "10.0.0.1", podIP: "10.1.2.3", startTime: at, qosClass: "Burstable", conditions, containerStatuses };
}

async function run(): Promise<void> {
  await using cluster = await TestKubernetes.start();
  const names = await makePods(cluster, POD_COUNT, { labels, containers, nodeName: "node-1" });
  const setStatus = async (pods: string[], restarts: number) => {
    for (let from = 0; from < pods.length; from += 16) {
      await Promise.all(pods.slice(from, from + 16).map((name) => setPodStatus(cluster, "default", name, statusOf(restarts))));
    }
  };
  await setStatus(names, 0);
  const one = await cluster.mustRequest("GET", `/api/v1/namespaces/default/pods/${names[0]}`);
  console.log(`${POD_COUNT} pods of ${JSON.stringify(one).length} characters each`);
  for (const what of ["counted", "watched", "changed"]) {
    const child = fork(import.meta.filename, [String(POD_COUNT), what]);
    child.send(cluster.kubeconfig());
    child.on("message", () => void setStatus(names.slice(0, CHANGES), 1));
    await once(child, "exit");
  }
}

const part = process.argv[3];
if (part === undefined) await run();
else {
  const [kubeconfig] = (await once(process, "message")) as [string];
  await measure(kubeconfig, part);
  process.disconnect();
}
