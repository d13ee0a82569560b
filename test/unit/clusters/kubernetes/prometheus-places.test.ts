import { describe, expect, test } from "vitest";
import { type FoundObjects, rankedPlaces } from "../../../../subgraphs/clusters/services/kubernetes/prometheus/places.ts";
import { likelyPort, matchOf, schemeOf } from "../../../../subgraphs/clusters/services/kubernetes/prometheus/service-match.ts";
import type {
  IngressObject,
  NodeObject,
  ServiceObject,
  ServicePort,
} from "../../../../subgraphs/clusters/services/kubernetes/prometheus/service-objects.ts";
import { seededRandom, seedOfRun, shuffle } from "../../../support/random.ts";

interface ServicePlan extends Partial<Pick<ServiceObject["metadata"], "labels">> {
  type?: string;
  ports?: ServicePort[];
  balanced?: Array<{ ip?: string; hostname?: string }>;
}

function service(namespace: string, name: string, { labels, type, ports = [{ port: 9090 }], balanced }: ServicePlan = {}): ServiceObject {
  return {
    metadata: { name, namespace, uid: `${namespace}/${name}`, resourceVersion: "1", labels },
    spec: { type, ports },
    status: { loadBalancer: { ingress: balanced } },
  };
}

function ingress(namespace: string, spec: IngressObject["spec"], balanced?: Array<{ ip?: string }>): IngressObject {
  return { metadata: { name: "one", namespace, uid: "i", resourceVersion: "1" }, spec, status: { loadBalancer: { ingress: balanced } } };
}

function node(name: string, addresses: Array<[string, string]>, ready = "True"): NodeObject {
  const metadata = { name, uid: name, resourceVersion: "1" };
  return {
    metadata,
    status: { addresses: addresses.map(([type, address]) => ({ type, address })), conditions: [{ type: "Ready", status: ready }] },
  };
}

function urls(found: Partial<FoundObjects>, limit = 40): string[] {
  return rankedPlaces({ services: [], ingresses: [], nodes: [], ...found }, limit).map(({ exposure, url }) => `${exposure} ${url}`);
}

describe("which services may be Prometheus", () => {
  test("by labels, by the usual names, by port 9090", () => {
    const label = { "app.kubernetes.io/name": "prometheus" };
    expect(matchOf(service("a", "x", { labels: label, ports: [{ port: 80 }] }))).toBe("LABEL");
    expect(matchOf(service("a", "x", { labels: { "operated-prometheus": "true" } }))).toBe("LABEL");
    for (const name of ["prometheus", "prometheus-server", "prometheus-k8s", "prometheus-operated", "prometheus-service"]) {
      expect(matchOf(service("a", name, { ports: [{ port: 80 }] }))).toBe("NAME");
    }
    expect(matchOf(service("a", "kube-prometheus-stack-prometheus", { ports: [{ port: 1 }] }))).toBe("NAME");
    expect(matchOf(service("a", "metrics"))).toBe("PORT");
    expect(matchOf(service("a", "metrics", { ports: [{ port: 80, targetPort: 9090 }] }))).toBe("PORT");
    expect(matchOf(service("a", "metrics", { ports: [{ port: 80 }] }))).toBeNull();
  });

  test("none that leads out of the cluster, and none without a TCP port", () => {
    expect(matchOf(service("a", "prometheus", { type: "ExternalName" }))).toBeNull();
    expect(matchOf(service("a", "prometheus", { ports: [] }))).toBeNull();
    expect(matchOf(service("a", "prometheus", { ports: [{ port: 9090, protocol: "UDP" }] }))).toBeNull();
    expect(matchOf({ metadata: { name: "prometheus", uid: "u", resourceVersion: "1" } })).toBeNull();
  });

  test("the port, and how it is spoken to", () => {
    const ports = [
      { port: 8080, name: "reloader" },
      { port: 80, name: "http" },
      { port: 443, targetPort: 9090 },
    ];
    expect(likelyPort(service("a", "x", { ports }))?.port).toBe(443);
    expect(likelyPort(service("a", "x", { ports: ports.slice(0, 2) }))?.port).toBe(80);
    expect(likelyPort(service("a", "x", { ports: ports.slice(0, 1) }))?.port).toBe(8080);
    expect([{ port: 443 }, { port: 1, name: "https-web" }, { port: 1, appProtocol: "HTTPS" }, { port: 9090 }].map(schemeOf)).toEqual([
      "https",
      "https",
      "https",
      "http",
    ]);
  });
});

describe("where Prometheus is looked for", () => {
  test("a load balancer before an Ingress before a node's port before the cluster's own address", () => {
    const services = [
      service("monitoring", "prometheus", {
        type: "LoadBalancer",
        ports: [{ port: 9090, name: "web", nodePort: 30_090 }],
        balanced: [{ ip: "203.0.113.7" }, { hostname: "lb.example.org" }],
      }),
    ];
    const backend = { service: { name: "prometheus", port: { name: "web" } } };
    const ingresses = [
      ingress("monitoring", {
        tls: [{ hosts: ["*.example.org"] }],
        rules: [
          { host: "metrics.example.org", http: { paths: [{ path: "/prometheus(/|$)(.*)", backend }] } },
          { host: "*.example.org", http: { paths: [{ path: "/", backend }] } },
          { host: "other.example.org", http: { paths: [{ path: "/", backend: { service: { name: "other", port: { number: 9090 } } } }] } },
        ],
      }),
      ingress("elsewhere", { rules: [{ host: "x.example.org", http: { paths: [{ backend }] } }] }),
    ];
    const nodes = [
      node("a", [["InternalIP", "10.0.0.1"]], "False"),
      node("b", [["InternalIP", "10.0.0.2"]]),
      node("c", [
        ["InternalIP", "10.0.0.3"],
        ["ExternalIP", "2001:db8::3"],
      ]),
      node("d", [["InternalIP", "10.0.0.4"]]),
    ];
    expect(urls({ services, ingresses, nodes })).toEqual([
      "LOAD_BALANCER http://203.0.113.7:9090",
      "LOAD_BALANCER http://lb.example.org:9090",
      "INGRESS https://metrics.example.org/prometheus",
      "NODE_PORT http://10.0.0.2:30090",
      "NODE_PORT http://[2001:db8::3]:30090",
      "CLUSTER_IP http://prometheus.monitoring.svc.cluster.local:9090",
    ]);
  });

  test("an Ingress without a host is at its own address; its default backend counts", () => {
    const services = [service("default", "prometheus")];
    const backend = { service: { name: "prometheus", port: { number: 9090 } } };
    expect(urls({ services, ingresses: [ingress("default", { defaultBackend: backend }, [{ ip: "203.0.113.9" }])] })[0]).toBe(
      "INGRESS http://203.0.113.9",
    );
    const otherPort = { service: { name: "prometheus", port: { number: 9093 } } };
    expect(urls({ services, ingresses: [ingress("default", { defaultBackend: otherPort }, [{ ip: "203.0.113.9" }])] })).toHaveLength(1);
  });

  test("what is no host is passed over", () => {
    const balanced = [{ hostname: "user@evil" }, { hostname: "evil/path?" }];
    expect(urls({ services: [service("default", "prometheus", { balanced })] })).toEqual([
      "CLUSTER_IP http://prometheus.default.svc.cluster.local:9090",
    ]);
  });

  test("the usual namespaces in their order before all others, then labels before names before ports, in whatever order they come", () => {
    const expected = [
      service("monitoring", "z"),
      service("prometheus", "prometheus"),
      service("kube-prometheus", "prometheus"),
      service("kube-system", "prometheus"),
      service("default", "z", { labels: { app: "prometheus" } }),
      service("default", "prometheus"),
      service("default", "a"),
      service("a", "prometheus"),
      service("b", "prometheus"),
    ];
    const seed = seedOfRun();
    const services = [...expected];
    shuffle(services, seededRandom(seed));
    const places = rankedPlaces({ services, ingresses: [], nodes: [] }, 40);
    expect(
      places.map(({ namespace, name }) => [namespace, name]),
      `SEED=${seed}`,
    ).toEqual(expected.map(({ metadata }) => [metadata.namespace, metadata.name]));
    expect(places[0]?.proxyPath).toBe("/api/v1/namespaces/monitoring/services/http:z:9090/proxy");
    expect(rankedPlaces({ services, ingresses: [], nodes: [] }, 3)).toEqual(places.slice(0, 3));
  });
});
