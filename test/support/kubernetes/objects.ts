import type { TestKubernetes } from "./test-kubernetes.ts";

/** Requests under way at once. */
const CONCURRENCY = 32;

export interface NodeOptions {
  /** True unless told. */
  ready?: boolean;
  /** InternalIP addresses; none unless told. */
  addresses?: string[];
  machineId?: string;
  providerId?: string;
  labels?: Record<string, string>;
  /** Where the API server asks for its pods' logs, at its first address: `SimulatedKubelet.port`. */
  kubeletPort?: number;
}

/** A Node as its kubelet would have registered it: with capacity, conditions and what it runs. */
export async function makeNode(cluster: TestKubernetes, name: string, options: NodeOptions = {}): Promise<void> {
  const { ready = true, addresses = [], machineId = "", providerId, labels, kubeletPort } = options;
  const resources = { cpu: "8", memory: "32Gi", pods: "110", "ephemeral-storage": "100Gi" };
  await cluster.mustRequest("POST", "/api/v1/nodes", {
    metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", ...labels } },
    spec: { providerID: providerId },
    status: {
      addresses: [...addresses.map((address) => ({ type: "InternalIP", address })), { type: "Hostname", address: name }],
      capacity: resources,
      allocatable: resources,
      conditions: conditionsOf(ready),
      daemonEndpoints: kubeletPort === undefined ? undefined : { kubeletEndpoint: { Port: kubeletPort } },
      nodeInfo: {
        ...{
          machineID: machineId,
          systemUUID: machineId,
          bootID: "",
          kernelVersion: "6.1.0-test",
          osImage: "Debian GNU/Linux 12 (bookworm)",
        },
        ...{ containerRuntimeVersion: "containerd://1.6.20", kubeletVersion: "v1.20.2", kubeProxyVersion: "v1.20.2" },
        ...{ operatingSystem: "linux", architecture: "amd64" },
      },
    },
  });
}

/** As when its kubelet stops or goes on to report. */
export async function setNodeReady(cluster: TestKubernetes, name: string, ready: boolean): Promise<void> {
  await cluster.mustRequest("PATCH", `/api/v1/nodes/${name}/status`, { status: { conditions: conditionsOf(ready) } });
}

export interface PodOptions {
  /** It must be there; "default" unless told. */
  namespace?: string;
  /** Their names are this with a number: "pod-0". */
  prefix?: string;
  /** The first pod's number; 0 unless told. */
  from?: number;
  labels?: Record<string, string>;
  nodeName?: string;
  /** Pending unless told: what the API server makes of a new pod; any other takes a second request. */
  phase?: "Pending" | "Running" | "Succeeded" | "Failed";
  /** Instead of one container "main". */
  containers?: object[];
}

/** Pods that nobody runs; gives their names. About 500 in a second; deleted with `deletePods`, since no kubelet would ever end them. */
export async function makePods(cluster: TestKubernetes, count: number, options: PodOptions = {}): Promise<string[]> {
  const { namespace = "default", prefix = "pod", from = 0, labels = {}, nodeName, phase = "Pending" } = options;
  const { containers = [{ name: "main", image: "registry.example/main:1" }] } = options;
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const names = Array.from({ length: count }, (_, index) => `${prefix}-${from + index}`);
  await inParallel(names, async (name) => {
    await cluster.mustRequest("POST", path, { metadata: { name, labels }, spec: { nodeName, containers } });
    if (phase !== "Pending") await setPodStatus(cluster, namespace, name, { phase });
  });
  return names;
}

/** What its kubelet would report: merged into the status that is there. */
export async function setPodStatus(cluster: TestKubernetes, namespace: string, name: string, status: object): Promise<void> {
  await cluster.mustRequest("PATCH", `/api/v1/namespaces/${namespace}/pods/${name}/status`, { status });
}

/** At once, without the time to end that a kubelet would use. */
export async function deletePods(cluster: TestKubernetes, namespace: string, names: string[]): Promise<void> {
  await inParallel(names, async (name) => {
    await cluster.mustRequest("DELETE", `/api/v1/namespaces/${namespace}/pods/${name}?gracePeriodSeconds=0`);
  });
}

export interface ServiceOptions {
  namespace: string;
  name: string;
  labels?: Record<string, string>;
  type?: "ClusterIP" | "NodePort" | "LoadBalancer";
  portName?: string;
  /** The port that the Service shows. */
  port: number;
  /** What answers behind it, by an address that is not of the loopback (`machineAddress`): the API server refuses that one. */
  endpoint?: { address: string; port: number };
}

/**
 * A Service in a namespace that is there, and what stands behind it: Endpoints and a Pod "NAME-0" with that address, without which the API
 * server's proxy would not go there.
 */
export async function makeService(cluster: TestKubernetes, options: ServiceOptions): Promise<void> {
  const { namespace, name, labels = {}, type = "ClusterIP", portName = "web", port, endpoint } = options;
  const path = `/api/v1/namespaces/${namespace}`;
  const ports = [{ name: portName, port, targetPort: endpoint?.port ?? port, protocol: "TCP" }];
  await cluster.mustRequest("POST", `${path}/services`, { metadata: { name, labels }, spec: { type, ports } });
  if (endpoint === undefined) return;
  const ip = endpoint.address;
  const [pod = ""] = await makePods(cluster, 1, { namespace, prefix: name, labels });
  await setPodStatus(cluster, namespace, pod, { phase: "Running", podIP: ip, podIPs: [{ ip }] });
  const { metadata } = await cluster.mustRequest("GET", `${path}/pods/${pod}`);
  const addresses = [{ ip, targetRef: { kind: "Pod", namespace, name: pod, uid: metadata.uid } }];
  const subsets = [{ addresses, ports: [{ name: portName, port: endpoint.port, protocol: "TCP" }] }];
  await cluster.mustRequest("POST", `${path}/endpoints`, { metadata: { name, labels }, subsets });
}

function conditionsOf(ready: boolean): object[] {
  const at = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const condition = (type: string, status: boolean, reason: string) => ({
    ...{ type, status: status ? "True" : "False", reason, message: reason },
    ...{ lastHeartbeatTime: at, lastTransitionTime: at },
  });
  return [
    condition("MemoryPressure", false, "KubeletHasSufficientMemory"),
    condition("DiskPressure", false, "KubeletHasNoDiskPressure"),
    condition("Ready", ready, ready ? "KubeletReady" : "KubeletNotReady"),
  ];
}

async function inParallel<T>(values: T[], work: (value: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < values.length) {
      const value = values[next] as T;
      next += 1;
      await work(value);
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, values.length) }, worker));
}
