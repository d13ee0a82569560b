import { Migration } from "../../kit/store/migrations.ts";

/** Nodes, their liveness, commands to them; join tokens and the identities that came of them. */
export class CreateNodes20261120 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    // Lists are in the order of bytes on both databases.
    const name = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table node (
      id ${name} not null primary key,
      hostname ${name} not null,
      ip text,
      port integer,
      role text,
      kind text not null,
      status text not null,
      status_by_hand text,
      reported ${json},
      lease text not null,
      lease_expired_at ${timestamp},
      maintenance ${boolean} not null,
      region text,
      zone text,
      capacity_cpu_cores integer,
      capacity_memory_bytes ${int64},
      capacity_disk_bytes ${int64},
      capacity_gpu_count integer,
      allocated_cpu_cores integer,
      allocated_memory_bytes ${int64},
      allocated_disk_bytes ${int64},
      allocated_gpu_count integer,
      supported_instance_types ${json} not null,
      conditions ${json} not null,
      labels ${json} not null,
      annotations ${json} not null,
      registered ${json},
      uri text,
      simulated ${boolean} not null,
      agent_id text,
      client_request_id text,
      deregistered_at ${timestamp},
      created_at ${timestamp} not null,
      updated_at ${timestamp} not null
    )`);
    // A name is free again once its node was deregistered: a host that was installed anew joins as somebody else.
    this.addSql("create unique index node_hostname on node (hostname) where deregistered_at is null");
    this.addSql("create index node_name on node (hostname, deregistered_at)");
    this.addSql("create index node_agent on node (agent_id) where agent_id is not null");
    this.addSql(
      "create unique index node_client_request on node (client_request_id, coalesce(agent_id, '')) where client_request_id is not null",
    );
    this.addSql(`create table node_liveness (
      node_id text not null primary key,
      last_seen ${timestamp},
      beats integer not null
    )`);
    this.addSql(`create table node_command (
      id text not null primary key,
      node_id text not null,
      type text not null,
      parameters ${json} not null,
      created_at ${timestamp} not null,
      acknowledged_at ${timestamp}
    )`);
    this.addSql("create index node_command_open on node_command (node_id) where acknowledged_at is null");
    this.addSql(`create table join_token (
      id text not null primary key,
      secret_hash text not null unique,
      uses_left integer not null,
      expires_at ${timestamp} not null,
      created_at ${timestamp} not null
    )`);
    this.addSql(`create table agent (
      id text not null primary key,
      join_token_id text not null,
      public_key_hash text not null,
      joined_at ${timestamp} not null,
      certificate_not_after ${timestamp} not null
    )`);
    this.addSql("create unique index agent_key on agent (join_token_id, public_key_hash)");
  }
}
