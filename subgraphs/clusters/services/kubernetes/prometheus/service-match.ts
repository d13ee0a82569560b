import type { ServiceObject, ServicePort } from "./service-objects.ts";

/** How a service was recognised; the first is the surest. */
export const MATCHES = ["LABEL", "NAME", "PORT"] as const;
export type Match = (typeof MATCHES)[number];

/** Where it is looked for first, in this order. */
export const USUAL_NAMESPACES = ["monitoring", "prometheus", "kube-prometheus", "kube-system", "default"] as const;

const USUAL_NAMES = new Set([
  "prometheus",
  "prometheus-server",
  "prometheus-k8s",
  "prometheus-operated",
  "prometheus-service",
  "kube-prometheus-stack-prometheus",
]);

const LABELS: ReadonlyArray<readonly [key: string, values: readonly string[]]> = [
  ["app.kubernetes.io/name", ["prometheus", "prometheus-server", "kube-prometheus-stack-prometheus"]],
  ["app", ["prometheus", "prometheus-server", "kube-prometheus-stack-prometheus"]],
  ["k8s-app", ["prometheus"]],
  ["name", ["prometheus"]],
  ["operated-prometheus", ["true"]],
];

const PORT = 9090;
const PORT_NAMES: readonly string[] = ["web", "http-web", "prometheus", "http", "https"];

/** Null where a service is no candidate: neither labels, nor name, nor port; or a name for something outside the cluster. */
export function matchOf({ metadata, spec }: ServiceObject): Match | null {
  if (spec?.type === "ExternalName" || tcpPorts(spec?.ports).length === 0) return null;
  const labels = metadata.labels ?? {};
  if (LABELS.some(([key, values]) => values.includes(labels[key] ?? ""))) return "LABEL";
  if (USUAL_NAMES.has(metadata.name)) return "NAME";
  return tcpPorts(spec?.ports).some(isUsual) ? "PORT" : null;
}

/** The port that Prometheus most likely answers at. */
export function likelyPort(service: ServiceObject): ServicePort | null {
  const ports = tcpPorts(service.spec?.ports);
  return ports.find(isUsual) ?? ports.find(({ name }) => PORT_NAMES.includes(name ?? "")) ?? ports[0] ?? null;
}

export function schemeOf({ name, port, appProtocol }: ServicePort): "http" | "https" {
  return port === 443 || appProtocol?.toLowerCase() === "https" || name?.startsWith("https") === true ? "https" : "http";
}

function isUsual({ port, targetPort }: ServicePort): boolean {
  return port === PORT || targetPort === PORT;
}

function tcpPorts(ports: ServicePort[] | undefined): ServicePort[] {
  return (ports ?? []).filter(({ protocol = "TCP" }) => protocol === "TCP");
}
