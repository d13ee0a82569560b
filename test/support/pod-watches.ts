import { parseKubeconfig } from "../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { type KubernetesClientOptions, openKubernetes } from "../../subgraphs/kit/kubernetes/kubernetes-client.ts";
import { openReflector, type Reflector } from "../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import type { ReflectorLimits } from "../../subgraphs/kit/kubernetes/reflector/reflector-limits.ts";
import { type KubernetesApi, type KubernetesObject, PODS } from "../../subgraphs/kit/kubernetes/types.ts";
import type { TestKubernetes } from "./kubernetes/test-kubernetes.ts";
import { ALL_OBJECTS, quietLog } from "./scripted-reflector.ts";
import { until } from "./until.ts";
import { WatchedView } from "./watched-view.ts";

/** What is told of a pod. */
export interface PodView {
  uid: string;
  name: string;
  value: string;
}

const PATH = "/api/v1/namespaces/default/pods";

export function clientOf(cluster: TestKubernetes, options: Partial<KubernetesClientOptions> = {}): KubernetesApi {
  return openKubernetes(parseKubeconfig(cluster.kubeconfig()).access(null), { log: quietLog, ...options });
}

/** The label "value" of the pods in "default"; other changes are no events. */
export function watchPods(api: KubernetesApi, limits: Partial<ReflectorLimits> = {}): Reflector<PodView> {
  return openReflector<KubernetesObject, PodView>({
    api,
    kind: PODS,
    filter: { ...ALL_OBJECTS, namespace: "default" },
    metadataOnly: true,
    project: ({ metadata: { uid, name, labels } }) => ({ uid, name, value: labels?.["value"] ?? "" }),
    identity: { stream: "pods", epoch: "1" },
    log: quietLog,
    limits: { firstRetryMs: 50, longestRetryMs: 500, ...limits },
  });
}

/** A subscriber that goes on, at whichever replica, until the signal. `leaveAfterMs`: it also goes and comes back by itself. */
export function followPods(replicas: () => Reflector<PodView>, leaveAfterMs: (() => number) | null = null): WatchedView<PodView> {
  return new WatchedView(({ signal, ...from }) => {
    const own = leaveAfterMs === null ? signal : AbortSignal.any([signal, AbortSignal.timeout(leaveAfterMs())]);
    return replicas().subscribe({ ...from, bookmarkIntervalMs: 500, signal: own });
  });
}

export async function putPod(cluster: TestKubernetes, name: string, value: string): Promise<void> {
  const labels = { value };
  const patched = await cluster.request("PATCH", `${PATH}/${name}`, { metadata: { labels } });
  if (patched.status !== 404) return;
  await cluster.mustRequest("POST", PATH, {
    metadata: { name, labels },
    spec: { containers: [{ name: "main", image: "example/main:1" }] },
  });
}

export async function removePod(cluster: TestKubernetes, name: string): Promise<void> {
  await cluster.request("DELETE", `${PATH}/${name}?gracePeriodSeconds=0`);
}

/** A fresh list, as a view would show it. */
export async function listPods(cluster: TestKubernetes): Promise<PodView[]> {
  const { items } = await cluster.mustRequest("GET", PATH);
  const views = (items as KubernetesObject[]).map(({ metadata: { uid, name, labels } }) => ({ uid, name, value: labels?.["value"] ?? "" }));
  return views.sort((one, other) => one.name.localeCompare(other.name));
}

/** Waits until each view shows what a fresh list does; fails where any was told what does not follow. */
export async function untilEqual(cluster: TestKubernetes, views: ReadonlyArray<WatchedView<PodView>>, timeoutMs = 30_000): Promise<void> {
  const listed = JSON.stringify(await listPods(cluster));
  const shows = ({ objects }: WatchedView<PodView>) =>
    JSON.stringify([...objects.values()].sort((one, other) => one.name.localeCompare(other.name))) === listed;
  await until(() => views.every(shows), "what a fresh list shows", timeoutMs);
  const mistakes = views.flatMap((view) => view.mistakes);
  if (mistakes.length > 0) throw new Error(`Events that do not follow: ${mistakes.slice(0, 5).join("; ")}`);
}
