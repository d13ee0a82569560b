/** Whose word the URL is. */
export const PROMETHEUS_SOURCES = ["MANUAL", "DISCOVERED"] as const;
export type PrometheusSource = (typeof PROMETHEUS_SOURCES)[number];

/**
 * OFF: it is not looked for. PENDING: it will be, when the cluster is healthy. SEARCHING: a run is under way. CONFIGURED: the URL was set by hand.
 * FOUND and NOT_FOUND: what the last whole run came to. FAILED: the last run did not get to an end.
 */
export const PROMETHEUS_STATES = ["OFF", "PENDING", "SEARCHING", "CONFIGURED", "FOUND", "NOT_FOUND", "FAILED"] as const;
export type PrometheusState = (typeof PROMETHEUS_STATES)[number];

export const DISCOVERY_OUTCOMES = ["FOUND", "NOT_FOUND", "FAILED", "CANCELLED"] as const;
export type DiscoveryOutcome = (typeof DISCOVERY_OUTCOMES)[number];

/** How a service can be reached; the first is tried first. */
export const EXPOSURES = ["LOAD_BALANCER", "INGRESS", "NODE_PORT", "CLUSTER_IP"] as const;
export type Exposure = (typeof EXPOSURES)[number];

/** One run of the discovery. */
export interface DiscoveryRun {
  startedAt: string;
  /** Null while it runs. */
  finishedAt: string | null;
  outcome: DiscoveryOutcome | null;
  message: string | null;
}

/** A place where Prometheus was looked for. */
export interface PrometheusCandidate {
  namespace: string;
  /** The service's. */
  name: string;
  exposure: Exposure;
  url: string;
  /** Null: it answered as Prometheus does. */
  error: string | null;
}

/** What is known of a cluster's Prometheus, as it is stored and shown. */
export interface PrometheusView {
  url: string | null;
  source: PrometheusSource | null;
  state: PrometheusState;
  lastRun: DiscoveryRun | null;
  /** Of the last run that was not cancelled, in the order of preference. */
  candidates: PrometheusCandidate[];
}
