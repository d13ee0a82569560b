import { describe, expect, test } from "vitest";
import {
  deploymentView,
  type RawDeployment,
  selectorText,
} from "../../../../subgraphs/clusters/services/kubernetes/objects/deployment-object.ts";
import { eventView, type RawEvent } from "../../../../subgraphs/clusters/services/kubernetes/objects/event-object.ts";
import { namespaceView } from "../../../../subgraphs/clusters/services/kubernetes/objects/namespace-object.ts";
import { nodeView, type RawNode } from "../../../../subgraphs/clusters/services/kubernetes/objects/node-object.ts";
import { podView, type RawPod } from "../../../../subgraphs/clusters/services/kubernetes/objects/pod-object.ts";
import { checkLabelSelector } from "../../../../subgraphs/clusters/services/kubernetes/objects/selectors.ts";
import { type RawService, serviceView } from "../../../../subgraphs/clusters/services/kubernetes/objects/service-object.ts";

const metadata = {
  name: "web-7d4b9c6f5d-x2x9k",
  namespace: "shop",
  uid: "6f1c2a1e-9a55-4a76-9a8a-1d4b0f7f3c11",
  resourceVersion: "48121",
  creationTimestamp: "2026-11-20T08:00:00Z",
  labels: { tier: "front", app: "web" },
  annotations: {
    "kubectl.kubernetes.io/last-applied-configuration": '{"spec":{"containers":[{"env":[{"name":"PASSWORD","value":"hunter2"}]}]}}',
    note: "kept",
  },
  ownerReferences: [
    { kind: "Other", name: "other", uid: "1" },
    { kind: "ReplicaSet", name: "web-7d4b9c6f5d", uid: "2", controller: true },
  ],
};

const head = {
  uid: metadata.uid,
  name: metadata.name,
  namespace: "shop",
  labels: [
    { key: "app", value: "web" },
    { key: "tier", value: "front" },
  ],
  annotations: [{ key: "note", value: "kept" }],
  createdAt: "2026-11-20T08:00:00Z",
  deletionRequestedAt: null,
};

describe("a pod", () => {
  const pod: RawPod = {
    metadata,
    spec: {
      nodeName: "worker-1",
      priority: 0,
      initContainers: [{ name: "migrate", image: "shop/migrate:1" }],
      containers: [
        {
          name: "web",
          image: "shop/web:2",
          resources: { requests: { cpu: "250m", memory: "64Mi" }, limits: { memory: "1Gi", "nvidia.com/gpu": "2" } },
          env: [
            { name: "MODE", value: "fast" },
            { name: "EMPTY" },
            { name: "PASSWORD", valueFrom: { secretKeyRef: { name: "db", key: "password" } } },
            { name: "FLAGS", valueFrom: { configMapKeyRef: { name: "web", key: "flags" } } },
            { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
            { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
          ],
        },
      ],
    },
    status: {
      phase: "Running",
      podIP: "10.1.0.7",
      hostIP: "192.168.1.10",
      qosClass: "Burstable",
      initContainerStatuses: [
        {
          name: "migrate",
          ready: true,
          restartCount: 0,
          state: { terminated: { exitCode: 0, reason: "Completed", startedAt: "2026-11-20T08:00:01Z" } },
        },
      ],
      containerStatuses: [
        {
          name: "web",
          ready: false,
          restartCount: 4,
          state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s" } },
          lastState: { terminated: { exitCode: 137, reason: "OOMKilled" } },
        },
      ],
    },
  };

  test("is shown with what its kubelet says, and why it is in trouble", () => {
    const view = podView(pod);
    expect(view).toMatchObject({
      ...head,
      phase: "Running",
      reason: "CrashLoopBackOff",
      message: "back-off 40s",
      nodeName: "worker-1",
      podIP: "10.1.0.7",
      hostIP: "192.168.1.10",
      qosClass: "Burstable",
      priority: 0,
      owner: { kind: "ReplicaSet", namespace: "shop", name: "web-7d4b9c6f5d", uid: "2" },
    });
    expect(view.containers).toMatchObject([
      {
        name: "web",
        image: "shop/web:2",
        ready: false,
        restarts: 4,
        state: "Waiting",
        reason: "CrashLoopBackOff",
        exitCode: 137,
        lastEndReason: "OOMKilled",
      },
    ]);
    expect(view.initContainers).toMatchObject([
      { name: "migrate", ready: true, state: "Terminated", reason: "Completed", exitCode: 0, startedAt: "2026-11-20T08:00:01Z" },
    ]);
  });

  test("tells where variables come from, and of secrets nothing but that", () => {
    expect(podView(pod).containers[0]?.env).toEqual([
      { name: "MODE", source: "VALUE", reference: null, literal: "fast" },
      { name: "EMPTY", source: "VALUE", reference: null, literal: "" },
      { name: "PASSWORD", source: "SECRET", reference: "db/password", literal: null },
      { name: "FLAGS", source: "CONFIG_MAP", reference: "web/flags", literal: null },
      { name: "IP", source: "FIELD", reference: "status.podIP", literal: null },
      { name: "CPU", source: "RESOURCE", reference: "limits.cpu", literal: null },
    ]);
  });

  test("does not show what kubectl applied, where values stand in the clear", () => {
    expect(JSON.stringify(podView(pod))).not.toContain("hunter2");
  });

  test("counts resources in whole units", () => {
    expect(podView(pod).containers[0]?.resources).toEqual({
      requests: { cpuCores: 0.25, memoryBytes: 64 * 1024 ** 2, ephemeralStorageBytes: null, pods: null, others: [] },
      limits: {
        cpuCores: null,
        memoryBytes: 1024 ** 3,
        ephemeralStorageBytes: null,
        pods: null,
        others: [{ key: "nvidia.com/gpu", value: "2" }],
      },
    });
  });

  test("of which nothing is known but its name is shown all the same", () => {
    const bare = podView({
      metadata: { name: "bare", namespace: "shop", uid: "u", resourceVersion: "1" },
      spec: { containers: [{ name: "a" }] },
    });
    expect(bare).toMatchObject({ phase: null, reason: null, owner: null, nodeName: null, createdAt: null });
    expect(bare.containers).toMatchObject([{ name: "a", ready: false, restarts: 0, state: null, exitCode: null, env: [] }]);
  });

  test("evicted says so itself", () => {
    expect(podView({ ...pod, status: { ...pod.status, phase: "Failed", reason: "Evicted", message: "low on memory" } })).toMatchObject({
      reason: "Evicted",
      message: "low on memory",
    });
  });
});

describe("a node", () => {
  const node: RawNode = {
    metadata: {
      name: "worker-1",
      uid: "n1",
      resourceVersion: "7",
      creationTimestamp: "2026-11-01T00:00:00Z",
      labels: { "node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/gpu": "true", "kubernetes.io/role": "worker", zone: "a" },
    },
    spec: {
      podCIDR: "10.1.0.0/24",
      podCIDRs: ["10.1.0.0/24", "fd00::/64"],
      providerID: "fleetgraph://node-1",
      taints: [{ key: "gpu", effect: "NoSchedule" }],
    },
    status: {
      addresses: [
        { type: "InternalIP", address: "192.168.1.10" },
        { type: "Hostname", address: "worker-1" },
      ],
      capacity: { cpu: "64", memory: "263842036Ki", pods: "110", "ephemeral-storage": "1Ti", "nvidia.com/gpu": "8" },
      conditions: [
        { type: "Ready", status: "True", reason: "KubeletReady", message: "ok", lastTransitionTime: "2026-11-01T00:01:00Z" },
        { type: "DiskPressure", status: "False" },
      ],
      nodeInfo: {
        kubeletVersion: "v1.31.4",
        machineID: "ab",
        architecture: "amd64",
        osImage: "Debian 12",
        containerRuntimeVersion: "containerd://1.7",
      },
    },
  };

  test("is shown with its roles, amounts and conditions", () => {
    expect(nodeView(node)).toMatchObject({
      name: "worker-1",
      ready: true,
      roles: ["gpu", "worker"],
      kubeletVersion: "v1.31.4",
      containerRuntime: "containerd://1.7",
      kernelVersion: null,
      machineId: "ab",
      providerId: "fleetgraph://node-1",
      podCIDRs: ["10.1.0.0/24", "fd00::/64"],
      taints: [{ key: "gpu", value: null, effect: "NoSchedule" }],
      unschedulable: false,
      capacity: {
        cpuCores: 64,
        memoryBytes: 263842036 * 1024,
        pods: 110,
        ephemeralStorageBytes: 1024 ** 4,
        others: [{ key: "nvidia.com/gpu", value: "8" }],
      },
      allocatable: null,
      conditions: [
        { type: "DiskPressure", status: "False", reason: null, message: null, lastTransitionAt: null },
        { type: "Ready", status: "True", reason: "KubeletReady", message: "ok", lastTransitionAt: "2026-11-01T00:01:00Z" },
      ],
    });
  });

  test("is not ready where that is unknown, and where nobody said", () => {
    expect(nodeView({ ...node, status: { conditions: [{ type: "Ready", status: "Unknown" }] } }).ready).toBe(false);
    expect(nodeView({ metadata: node.metadata }).ready).toBe(false);
  });

  test("looks the same after a heartbeat", () => {
    const beat = (at: string): RawNode => ({
      ...node,
      metadata: { ...node.metadata, resourceVersion: at },
      status: { ...node.status, conditions: node.status?.conditions?.map((one) => ({ ...one, lastHeartbeatTime: at })) },
    });
    expect(nodeView(beat("2"))).toEqual(nodeView(beat("1")));
  });
});

test("a deployment shows its replicas, and a selector that lists its pods", () => {
  const deployment: RawDeployment = {
    metadata: { ...metadata, name: "web" },
    spec: {
      replicas: 3,
      selector: {
        matchLabels: { app: "web" },
        matchExpressions: [
          { key: "tier", operator: "NotIn", values: ["db", "cache"] },
          { key: "old", operator: "DoesNotExist" },
        ],
      },
      template: {
        spec: {
          containers: [
            { name: "a", image: "shop/web:2" },
            { name: "b", image: "shop/web:2" },
          ],
        },
      },
    },
    status: { replicas: 3, readyReplicas: 2, updatedReplicas: 1, conditions: [{ type: "Available", status: "True" }] },
  };
  const view = deploymentView(deployment);
  expect(view).toMatchObject({
    replicas: { desired: 3, current: 3, ready: 2, updated: 1, available: 0 },
    selector: "app=web,tier notin (db,cache),!old",
    images: ["shop/web:2"],
    paused: false,
  });
  expect(checkLabelSelector("labelSelector", view.selector)).toBe(view.selector);
  expect(selectorText(undefined)).toBeNull();
});

test("a service shows where it is reached", () => {
  const service: RawService = {
    metadata,
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.0.0.7",
      selector: { app: "web" },
      ports: [
        { port: 80, targetPort: "http", nodePort: 30080 },
        { name: "tls", port: 443, targetPort: 8443, protocol: "TCP" },
      ],
    },
    status: { loadBalancer: { ingress: [{ ip: "203.0.113.7" }, { hostname: "lb.example.org" }] } },
  };
  expect(serviceView(service)).toMatchObject({
    type: "LoadBalancer",
    clusterIPs: ["10.0.0.7"],
    loadBalancer: ["203.0.113.7", "lb.example.org"],
    selector: "app=web",
    ports: [
      { name: null, protocol: "TCP", port: 80, targetPort: "http", nodePort: 30080 },
      { name: "tls", protocol: "TCP", port: 443, targetPort: "8443", nodePort: null },
    ],
  });
});

describe("an event", () => {
  const event: RawEvent = {
    metadata,
    involvedObject: { kind: "Pod", namespace: "shop", name: "web-1", uid: "p1" },
    type: "Warning",
    reason: "BackOff",
    message: "Back-off restarting failed container",
  };

  test("of the older form", () => {
    const old: RawEvent = {
      ...event,
      count: 7,
      firstTimestamp: "2026-11-20T08:00:00Z",
      lastTimestamp: "2026-11-20T09:00:00Z",
      eventTime: null,
      source: { component: "kubelet", host: "worker-1" },
    };
    expect(eventView(old)).toMatchObject({
      count: 7,
      firstAt: "2026-11-20T08:00:00Z",
      lastAt: "2026-11-20T09:00:00Z",
      source: "kubelet, worker-1",
      object: { kind: "Pod", namespace: "shop", name: "web-1", uid: "p1" },
    });
  });

  test("of the newer form", () => {
    const series = { count: 3, lastObservedTime: "2026-11-20T08:05:00Z" };
    const newer: RawEvent = {
      ...event,
      firstTimestamp: null,
      lastTimestamp: null,
      eventTime: "2026-11-20T08:01:00Z",
      series,
      reportingComponent: "scheduler",
    };
    expect(eventView(newer)).toMatchObject({
      count: 3,
      firstAt: "2026-11-20T08:01:00Z",
      lastAt: "2026-11-20T08:05:00Z",
      source: "scheduler",
    });
  });

  test("that says next to nothing", () => {
    expect(eventView({ metadata })).toMatchObject({
      type: null,
      count: 1,
      firstAt: metadata.creationTimestamp,
      source: null,
      object: null,
    });
  });
});

test("a namespace shows that it is being deleted", () => {
  const view = namespaceView({ metadata: { ...metadata, deletionTimestamp: "2026-11-21T00:00:00Z" }, status: { phase: "Terminating" } });
  expect(view).toMatchObject({ phase: "Terminating", deletionRequestedAt: "2026-11-21T00:00:00Z" });
});
