import { BigIntType } from "@mikro-orm/core";
import { Entity, PrimaryKey, Property } from "@mikro-orm/decorators/legacy";
import type { ClusterHealth, FoundPrometheus, KubeconfigContextView } from "../services/kubernetes/cluster-types.ts";

/** A Kubernetes cluster, registered or deleted. One replica at a time has the claim to check it, and one to look for its Prometheus. */
@Entity({ tableName: "kubernetes_cluster" })
export class KubernetesCluster {
  @PrimaryKey({ type: "string" })
  id!: string;

  /** Unique among clusters that are not deleted. */
  @Property({ type: "string" })
  name!: string;

  @Property({ type: "boolean" })
  isDefault!: boolean;

  @Property({ type: "boolean" })
  enabled!: boolean;

  /** The kubeconfig's context that is used. */
  @Property({ type: "string" })
  context!: string;

  /** All of the kubeconfig's, without any secret. */
  @Property({ type: "json" })
  contexts!: KubeconfigContextView[];

  /** A box of platform/secrets with the kubeconfig as YAML. */
  @Property({ type: "text", lazy: true })
  sealedKubeconfig!: string;

  /** Grows when the access changes, and when it is disabled or enabled: whoever was given an older one has to ask again. */
  @Property({ type: "integer" })
  revision!: number;

  @Property({ type: "string" })
  healthStatus!: ClusterHealth;

  @Property({ type: "string", nullable: true })
  healthReason!: string | null;

  @Property({ type: "string", nullable: true })
  healthMessage!: string | null;

  @Property({ type: "datetime" })
  healthSince!: Date;

  @Property({ type: "datetime", nullable: true })
  lastConnectedAt!: Date | null;

  @Property({ type: "string", nullable: true })
  version!: string | null;

  @Property({ type: "integer", nullable: true })
  nodeCount!: number | null;

  @Property({ type: "integer", nullable: true })
  podCount!: number | null;

  @Property({ type: "boolean" })
  discoverPrometheus!: boolean;

  /** Set by hand; stops discovery. */
  @Property({ type: "string", nullable: true })
  prometheusUrl!: string | null;

  /** What discovery knows; null before it was begun, and after a URL was set by hand. */
  @Property({ type: "json", nullable: true })
  prometheus!: FoundPrometheus | null;

  @Property({ type: "string", nullable: true })
  checkClaimedBy!: string | null;

  /** By the database's clock, in milliseconds since 1970; 0: nobody's. */
  @Property({ type: new BigIntType("number") })
  checkClaimedUntil!: number;

  @Property({ type: "string", nullable: true })
  discoveryClaimedBy!: string | null;

  /** The same clock; 0: nobody's. */
  @Property({ type: new BigIntType("number") })
  discoveryClaimedUntil!: number;

  @Property({ type: "string", nullable: true })
  clientRequestId!: string | null;

  @Property({ type: "string" })
  createdBy!: string;

  @Property({ type: "datetime", nullable: true })
  deletedAt!: Date | null;

  @Property({ type: "datetime" })
  createdAt!: Date;

  @Property({ type: "datetime" })
  updatedAt!: Date;
}
