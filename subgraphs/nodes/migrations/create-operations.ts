import { Migration } from "../../kit/store/migrations.ts";

/** What is done to nodes: disabling with evacuation, reboots, shutdowns, deletions. */
export class CreateOperations20261212 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    // Lists are in the order of bytes on both databases.
    const id = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table node_operation (
      id ${id} not null primary key,
      node_id text not null,
      hostname text not null,
      kind text not null,
      state text not null,
      phase text not null,
      instances text not null,
      max_parallel integer not null,
      reason text,
      requested_by text not null,
      client_request_id text,
      deadline_ms ${int64} not null,
      cancel_requested ${boolean} not null,
      boot_id text,
      ordered ${boolean} not null,
      former_maintenance ${boolean},
      former_reason text,
      progress ${json},
      waiting_for text,
      outcome text,
      error_code text,
      error_reason text,
      error_message text,
      phase_until ${int64} not null,
      silent_since ${int64},
      failures integer not null,
      claim integer not null,
      lease_until ${int64} not null,
      not_before ${int64} not null,
      created_at ${timestamp} not null,
      finished_at ${timestamp}
    )`);
    this.addSql("create unique index node_operation_open on node_operation (node_id) where finished_at is null");
    this.addSql(
      "create unique index node_operation_client_request on node_operation (client_request_id) where client_request_id is not null",
    );
    this.addSql("create index node_operation_node on node_operation (node_id, created_at, id)");
    this.addSql("create index node_operation_finished on node_operation (finished_at) where finished_at is not null");
  }
}
