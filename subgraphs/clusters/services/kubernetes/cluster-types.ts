export const CLUSTER_HEALTHS = ["UNKNOWN", "HEALTHY", "WARNING", "ERROR", "UNAVAILABLE"] as const;
export type ClusterHealth = (typeof CLUSTER_HEALTHS)[number];

export const PROMETHEUS_SOURCES = ["MANUAL", "DISCOVERED"] as const;
export type PrometheusSource = (typeof PROMETHEUS_SOURCES)[number];

/** CONFIGURED: by hand; OFF: neither set nor to be looked for; PENDING: to be looked for, and not begun. */
export const PROMETHEUS_STATES = ["OFF", "CONFIGURED", "PENDING", "SEARCHING", "FOUND", "NOT_FOUND"] as const;
export type PrometheusState = (typeof PROMETHEUS_STATES)[number];

export const DISCOVERY_OUTCOMES = ["FOUND", "NOT_FOUND", "FAILED", "CANCELLED"] as const;
export type DiscoveryOutcome = (typeof DISCOVERY_OUTCOMES)[number];

export const PROMETHEUS_EXPOSURES = ["LOAD_BALANCER", "INGRESS", "NODE_PORT", "CLUSTER_IP"] as const;
export type PrometheusExposure = (typeof PROMETHEUS_EXPOSURES)[number];

/** A context of a kubeconfig, without any secret. */
export type KubeconfigContextView = {
  name: string;
  cluster: string;
  user: string;
  namespace: string | null;
  server: string | null;
  /** How it signs in: TOKEN, CLIENT_CERTIFICATE, BASIC, NONE; null where it cannot be used. */
  authentication: string | null;
  usable: boolean;
  /** Why it cannot be used. */
  problem: string | null;
};

export type DiscoveryRun = {
  /** ISO 8601. */
  startedAt: string;
  /** Null while it is under way. */
  finishedAt: string | null;
  outcome: DiscoveryOutcome | null;
  message: string | null;
};

export type PrometheusCandidate = {
  namespace: string;
  name: string;
  exposure: PrometheusExposure;
  url: string;
  /** Why it was not taken; null for the one that was. */
  error: string | null;
};

/** What discovery knows, as it is stored. */
export type FoundPrometheus = {
  state: Extract<PrometheusState, "PENDING" | "SEARCHING" | "FOUND" | "NOT_FOUND">;
  url: string | null;
  lastRun: DiscoveryRun | null;
  /** What was tried, in this order. */
  candidates: PrometheusCandidate[];
};

export type PrometheusView = Omit<FoundPrometheus, "state"> & { state: PrometheusState; source: PrometheusSource | null };

/** A cluster as GraphQL and the event log show it: JSON primitives only, times in ISO 8601, no secret. */
export type KubernetesClusterView = {
  id: string;
  name: string;
  isDefault: boolean;
  enabled: boolean;
  context: string;
  contexts: KubeconfigContextView[];
  /** Grows when the access changes, and when it is disabled or enabled. Not shown by GraphQL. */
  revision: number;
  healthStatus: ClusterHealth;
  healthReason: string | null;
  healthMessage: string | null;
  healthSince: string;
  lastConnectedAt: string | null;
  version: string | null;
  /** As last counted; 0 before the first time; null where the cluster's account may not read them. */
  nodeCount: number | null;
  podCount: number | null;
  prometheus: PrometheusView;
  createdAt: string;
  updatedAt: string;
};

export interface KubernetesClusterFilter {
  /** A part of the name, in lower case. */
  name: string | null;
  enabled: boolean | null;
  healthStatuses: readonly ClusterHealth[] | null;
  isDefault: boolean | null;
}

/** The stream of the event log that the clusters' events are in. */
export const KUBERNETES_CLUSTER_STREAM = "kubernetes-clusters";
