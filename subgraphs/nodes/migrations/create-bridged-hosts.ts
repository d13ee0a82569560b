import { Migration } from "../../kit/store/migrations.ts";

/** Hosts that are added by URI, and the agents that can stand for them. */
export class CreateBridgedHosts20261208 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    this.addSql(`create table bridged_host (
      id text not null primary key,
      node_id text,
      hostname text not null unique,
      uri text not null,
      kind text not null,
      state text not null,
      agent_id text,
      generation integer not null,
      sealed_credentials text not null,
      host_keys ${json} not null,
      host_uuid text,
      boot_id text,
      settings ${json} not null,
      client_request_id text,
      added_by text not null,
      claim integer not null,
      lease_until ${int64} not null,
      assigned_at ${int64} not null,
      created_at ${timestamp} not null
    )`);
    this.addSql("create unique index bridged_host_node on bridged_host (node_id) where node_id is not null");
    this.addSql("create unique index bridged_host_request on bridged_host (client_request_id) where client_request_id is not null");
    this.addSql(
      "create unique index bridged_host_machine on bridged_host (host_uuid, boot_id) where host_uuid is not null and boot_id is not null",
    );
    this.addSql("create index bridged_host_agent on bridged_host (agent_id)");
    this.addSql(`create table bridge_stream (
      agent_id text not null primary key,
      stream_id text not null,
      node_id text not null,
      willing ${boolean} not null,
      seen_at ${int64} not null
    )`);
  }
}
