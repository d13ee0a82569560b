import { isIPv6 } from "node:net";
import { PROMETHEUS_EXPOSURES, type PrometheusExposure } from "../cluster-types.ts";
import { likelyPort, MATCHES, type Match, matchOf, schemeOf, USUAL_NAMESPACES } from "./service-match.ts";
import { balancedAddresses, type IngressObject, type NodeObject, type ServiceObject, type ServicePort } from "./service-objects.ts";

/** One way to reach one service. */
export interface Place {
  namespace: string;
  name: string;
  match: Match;
  exposure: PrometheusExposure;
  /** The base URL, without a slash at its end. */
  url: string;
  /** The way through the API server, where that is the only one; null: it is asked directly. */
  proxyPath: string | null;
}

export interface FoundObjects {
  services: ServiceObject[];
  ingresses: IngressObject[];
  /** For node ports. */
  nodes: NodeObject[];
}

/** Of nodes, rules and balanced addresses of one service. */
const MAX_OF_A_KIND = 2;

/** All the ways to the services that may be Prometheus, the preferred first: by namespace, then by exposure, then by what they are known by. */
export function rankedPlaces({ services, ingresses, nodes }: FoundObjects, limit: number): Place[] {
  const addresses = nodeAddresses(nodes);
  const places = services.flatMap((service) => placesOf(service, ingresses, addresses));
  const seen = new Set<string>();
  return places
    .sort(byPreference)
    .filter(({ url }) => !seen.has(url) && seen.add(url))
    .slice(0, limit);
}

function placesOf(service: ServiceObject, ingresses: IngressObject[], addresses: string[]): Place[] {
  const [match, port, { name, namespace = "" }] = [matchOf(service), likelyPort(service), service.metadata];
  if (match === null || port === null) return [];
  const scheme = schemeOf(port);
  const place = (exposure: PrometheusExposure, url: string, proxyPath: string | null = null) => ({
    namespace,
    name,
    match,
    exposure,
    url,
    proxyPath,
  });
  const at = (host: string, number: number) => originOf(scheme, host, number) ?? [];
  const nodePort = port.nodePort;
  return [
    ...balancedAddresses(service)
      .flatMap((host) => at(host, port.port))
      .map((url) => place("LOAD_BALANCER", url)),
    ...ingressUrls(service, port, ingresses).map((url) => place("INGRESS", url)),
    ...(nodePort ? addresses.flatMap((host) => at(host, nodePort)) : []).map((url) => place("NODE_PORT", url)),
    place(
      "CLUSTER_IP",
      `${scheme}://${name}.${namespace}.svc.cluster.local:${port.port}`,
      `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${scheme}:${encodeURIComponent(name)}:${port.port}/proxy`,
    ),
  ];
}

function ingressUrls(service: ServiceObject, port: ServicePort, ingresses: IngressObject[]): string[] {
  const { name, namespace } = service.metadata;
  const leadsHere = (backend: { service?: { name?: string; port?: { number?: number; name?: string } } } | undefined) =>
    backend?.service?.name === name && [port.port, port.name].includes(backend?.service?.port?.number ?? backend?.service?.port?.name);
  const urls: string[] = [];
  for (const ingress of ingresses.filter(({ metadata }) => metadata.namespace === namespace)) {
    const [{ rules = [], tls = [], defaultBackend } = {}, own] = [ingress.spec, balancedAddresses(ingress)];
    const paths = rules.flatMap(({ host, http }) => (http?.paths ?? []).map(({ path, backend }) => ({ host, path, backend })));
    for (const { host, path, backend } of [...paths, { host: undefined, path: "/", backend: defaultBackend }]) {
      if (!leadsHere(backend) || host?.includes("*")) continue;
      const secure = tls.some(({ hosts }) => host !== undefined && coveredBy(hosts ?? [], host));
      const scheme = secure ? "https" : "http";
      for (const origin of (host ? [host] : own).flatMap((one) => originOf(scheme, one, null) ?? [])) urls.push(origin + plainPath(path));
    }
  }
  return urls.slice(0, MAX_OF_A_KIND);
}

/** Ready nodes' external addresses, else their internal ones. */
function nodeAddresses(nodes: NodeObject[]): string[] {
  const ready = nodes.filter(({ status }) => status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True"));
  const addresses = ready.flatMap(({ status }) => {
    const of = (wanted: string) => status?.addresses?.find(({ type }) => type === wanted)?.address;
    return of("ExternalIP") ?? of("InternalIP") ?? [];
  });
  return addresses.slice(0, MAX_OF_A_KIND);
}

function coveredBy(patterns: string[], host: string): boolean {
  return patterns.some((pattern) => pattern === host || (pattern.startsWith("*.") && pattern.slice(1) === host.slice(host.indexOf("."))));
}

/** "/prometheus" of "/prometheus(/|$)(.*)": controllers allow patterns, a URL has none. */
function plainPath(path = "/"): string {
  const [plain = ""] = /^(?:\/[\w.~-]+)*/.exec(path) ?? [];
  return plain;
}

/** Null for what is no host. */
function originOf(scheme: string, host: string, port: number | null): string | null {
  const url = URL.parse(`${scheme}://${isIPv6(host) ? `[${host}]` : host}${port === null ? "" : `:${port}`}`);
  return url === null || url.pathname !== "/" || url.username !== "" || url.search !== "" || url.hash !== "" ? null : url.origin;
}

function byPreference(a: Place, b: Place): number {
  return (
    namespaceRank(a.namespace) - namespaceRank(b.namespace) ||
    PROMETHEUS_EXPOSURES.indexOf(a.exposure) - PROMETHEUS_EXPOSURES.indexOf(b.exposure) ||
    MATCHES.indexOf(a.match) - MATCHES.indexOf(b.match) ||
    compare(a.namespace, b.namespace) ||
    compare(a.name, b.name)
  );
}

function namespaceRank(namespace: string): number {
  const rank = (USUAL_NAMESPACES as readonly string[]).indexOf(namespace);
  return rank === -1 ? USUAL_NAMESPACES.length : rank;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
