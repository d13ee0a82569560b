import { Migration } from "../../kit/store/migrations.ts";

/** Instances and their labels, what they hold of their nodes, and how far agents have reported. */
export class CreateInstances20261128 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    // Lists are in the order of bytes on both databases.
    const name = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table instance (
      id ${name} not null primary key,
      name ${name} not null,
      name_folded text not null,
      type text not null,
      state text not null,
      desired_state text,
      state_reason text,
      error_message text,
      activity text,
      made ${boolean} not null,
      managed ${boolean} not null,
      node_id text not null,
      generation ${int64} not null,
      revision ${int64} not null,
      applied_revision ${int64} not null,
      restarts integer not null,
      force ${boolean} not null,
      stop_timeout_seconds integer not null,
      native_id text,
      adopt_native_id text,
      ip_addresses ${json} not null,
      started_at ${timestamp},
      exit_code integer,
      spec ${json} not null,
      secrets ${json} not null,
      cpu_cores integer not null,
      memory_bytes ${int64} not null,
      disk_bytes ${int64} not null,
      gpu_count integer not null,
      labels ${json} not null,
      annotations ${json} not null,
      client_request_id text,
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null,
      deleted_at ${timestamp}
    )`);
    this.addSql("create index instance_name on instance (name, id)");
    this.addSql("create index instance_node on instance (node_id)");
    // What agents have still to be told.
    this.addSql("create index instance_pending on instance (node_id) where applied_revision < revision and deleted_at is null");
    this.addSql("create index instance_deleted on instance (deleted_at) where deleted_at is not null");
    this.addSql("create unique index instance_client_request on instance (client_request_id) where client_request_id is not null");
    this.addSql("create unique index instance_found on instance (node_id, native_id) where managed = false and native_id is not null");
    this.addSql(`create table instance_label (
      instance_id text not null,
      key text not null,
      value text not null,
      primary key (instance_id, key)
    )`);
    this.addSql("create index instance_label_value on instance_label (key, value)");
    this.addSql(`create table node_reservation (
      node_id text not null primary key,
      cpu_cores integer not null,
      memory_bytes ${int64} not null,
      disk_bytes ${int64} not null,
      gpu_count integer not null
    )`);
    this.addSql(`create table node_report (
      node_id text not null primary key,
      session ${int64} not null,
      sequence ${int64} not null,
      type_support ${json} not null,
      full_at ${timestamp},
      reported_at ${timestamp} not null
    )`);
  }
}
