import type { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import type { ClusterHealth, FoundPrometheus, KubernetesClusterView } from "./cluster-types.ts";
import type { ClusterWriter } from "./cluster-writer.ts";

/** What a check or a count found; what is left out stays as it was. */
export interface HealthReport {
  healthStatus?: ClusterHealth;
  healthReason?: string | null;
  healthMessage?: string | null;
  version?: string | null;
  /** Null: may not be read. */
  nodeCount?: number | null;
  podCount?: number | null;
  connectedAt?: Date;
}

/** What was read of the cluster: a report about what it was before its access changed is dropped. */
export type ReportedCluster = Pick<KubernetesClusterView, "id" | "revision">;

/** Writes what is observed of clusters: row and event in one transaction, nothing where nothing changed. */
export class KubernetesHealthWriter {
  readonly #writer: ClusterWriter;

  constructor(writer: ClusterWriter) {
    this.#writer = writer;
  }

  /** The cluster afterwards; null where it is gone, disabled, or reached in another way by now: then nothing is written. */
  record(about: ReportedCluster, report: HealthReport): Promise<KubernetesClusterView | null> {
    return this.#change(about, (cluster) => {
      const now = new Date();
      if (report.healthStatus !== undefined && report.healthStatus !== cluster.healthStatus) {
        cluster.healthStatus = report.healthStatus;
        cluster.healthSince = now;
      }
      if (report.connectedAt !== undefined) cluster.lastConnectedAt = report.connectedAt;
      for (const field of ["healthReason", "healthMessage", "version", "nodeCount", "podCount"] as const) {
        if (report[field] !== undefined) Object.assign(cluster, { [field]: report[field] });
      }
    });
  }

  /** As `record`. Not written either where a URL was set by hand meanwhile, or `ofRun`, when the run began, is not that of the cluster's run. */
  recordPrometheus(about: ReportedCluster, prometheus: FoundPrometheus, ofRun?: string): Promise<KubernetesClusterView | null> {
    return this.#change(
      about,
      (cluster) => {
        cluster.prometheus = prometheus;
      },
      (cluster) => cluster.prometheusUrl === null && (ofRun === undefined || isUnderWay(cluster, ofRun)),
    );
  }

  #change(
    { id, revision }: ReportedCluster,
    change: (cluster: KubernetesCluster) => void,
    applies: (cluster: KubernetesCluster) => boolean = () => true,
  ): Promise<KubernetesClusterView | null> {
    return this.#writer.transaction(async (clusters) => {
      const cluster = await clusters.lock(id);
      if (cluster === null || !cluster.enabled || cluster.revision !== revision || !applies(cluster)) return null;
      return clusters.change(cluster, () => change(cluster));
    });
  }
}

function isUnderWay({ prometheus }: KubernetesCluster, startedAt: string): boolean {
  return prometheus?.state === "SEARCHING" && prometheus.lastRun?.startedAt === startedAt;
}
