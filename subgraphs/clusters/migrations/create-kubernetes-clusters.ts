import { Migration } from "../../kit/store/migrations.ts";

/** Kubernetes clusters. A name is free again once its cluster was deleted; at most one is the default. */
export class CreateKubernetesClusters20261216 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    const name = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table kubernetes_cluster (
      id ${name} not null primary key,
      name ${name} not null,
      is_default ${boolean} not null,
      enabled ${boolean} not null,
      context text not null,
      contexts ${json} not null,
      sealed_kubeconfig text not null,
      revision integer not null,
      health_status text not null,
      health_reason text,
      health_message text,
      health_since ${timestamp} not null,
      last_connected_at ${timestamp},
      version text,
      node_count integer,
      pod_count integer,
      discover_prometheus ${boolean} not null,
      prometheus_url text,
      prometheus ${json},
      check_claimed_by text,
      check_claimed_until ${int64} not null,
      discovery_claimed_by text,
      discovery_claimed_until ${int64} not null,
      client_request_id text,
      created_by text not null,
      deleted_at ${timestamp},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    )`);
    const isDefault = this.dialect === "postgresql" ? "is_default" : "is_default = 1";
    this.addSql("create unique index kubernetes_cluster_name on kubernetes_cluster (name) where deleted_at is null");
    this.addSql(
      `create unique index kubernetes_cluster_default on kubernetes_cluster (is_default) where ${isDefault} and deleted_at is null`,
    );
    this.addSql(
      "create unique index kubernetes_cluster_request on kubernetes_cluster (client_request_id) where client_request_id is not null",
    );
  }
}
