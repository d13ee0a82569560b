import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { Config } from "../../platform/config/settings.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import type { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import { type ClustersConfig, DEFAULT_CLUSTERS_CONFIG } from "../../subgraphs/clusters/config.ts";
import { type ClustersSubgraph, startClustersSubgraph } from "../../subgraphs/clusters/main.ts";
import type { Bus } from "../../subgraphs/kit/events/bus.ts";
import type { ProcessContext } from "../process/run-process.ts";

const GRACE_MS = 5000;

/** Starts the clusters subgraph as configured, and stops it with the process. */
export async function startClusters(
  { config, log, metrics, lifecycle }: ProcessContext,
  { verifier, authority, bus }: { verifier: TokenVerifier; authority: CertificateAuthority; bus: Bus },
): Promise<ClustersSubgraph> {
  const clusters = await startClustersSubgraph({
    databaseUrl: config["database.clusters"],
    bus,
    verifier,
    authority,
    secrets: await SecretKeys.open(config["secrets.keyDir"]),
    log,
    metrics,
    config: clustersConfig(config),
    retention: { maxAgeMs: config["events.retentionAge"] * 1000, maxEvents: config["events.retentionCount"] },
    agentEndpoints: Object.entries(config["control.peers"]).map(([service, address]) => ({ service, address })),
  });
  lifecycle.onStop("clusters", () => clusters.stop(GRACE_MS), GRACE_MS + 5000);
  return clusters;
}

function clustersConfig(config: Config): Partial<ClustersConfig> {
  const leaseTtlSeconds = config["lease.ttl"];
  return {
    clusterName: config["cluster.name"],
    heartbeatIntervalSeconds: config["lease.heartbeatInterval"],
    leaseTtlSeconds,
    kubernetes: { ...DEFAULT_CLUSTERS_CONFIG.kubernetes, checkIntervalMs: config["kubernetes.checkInterval"] * 1000 },
    livenessIntervalMs: Math.min(DEFAULT_CLUSTERS_CONFIG.livenessIntervalMs, leaseTtlSeconds * 250),
    allocation: {
      cpuOvercommit: config["placement.cpuOvercommit"],
      memoryOvercommit: config["placement.memoryOvercommit"],
      reserve: {
        cpuCores: config["placement.reserveCpuCores"],
        memoryBytes: config["placement.reserveMemory"],
        diskBytes: config["placement.reserveDisk"],
        gpuCount: 0,
      },
    },
  };
}
