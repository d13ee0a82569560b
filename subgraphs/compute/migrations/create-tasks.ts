import { Migration } from "../../kit/store/migrations.ts";

/** Work that takes long, and who has the claim on it; volumes, interfaces and suspension to disk of instances. */
export class CreateTasks20261205 extends Migration {
  override up(): void {
    const { timestamp, json, boolean, int64 } = this.types;
    // Lists are in the order of bytes on both databases.
    const id = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table task (
      id ${id} not null primary key,
      kind text not null,
      state text not null,
      status text,
      current_bytes ${int64},
      total_bytes ${int64},
      error_code text,
      error_reason text,
      error_message text,
      instance_id text,
      node_id text,
      group_id text,
      input ${json} not null,
      cancel_requested ${boolean} not null,
      exclusive ${boolean} not null,
      created_by text not null,
      client_request_id text,
      checkpoint ${json},
      claim integer not null,
      owner text,
      lease_until ${int64} not null,
      not_before ${int64} not null,
      begun_at ${int64},
      failures integer not null,
      created_at ${timestamp} not null,
      started_at ${timestamp},
      finished_at ${timestamp}
    )`);
    this.addSql(`alter table instance add column suspend_to_disk ${boolean} not null default false`);
    // Instances of before have neither.
    const devices = '{"volumes":[],"interfaces":[]}';
    const added = this.dialect === "postgresql" ? `spec || '${devices}'::jsonb` : `json_patch(spec, '${devices}')`;
    this.addSql(`update instance set spec = ${added}`);
    this.addSql("create index task_created on task (created_at, id)");
    this.addSql("create index task_instance on task (instance_id) where instance_id is not null");
    this.addSql("create index task_group on task (group_id) where group_id is not null");
    // What is to be claimed, and what is held.
    this.addSql("create index task_open on task (kind, created_at) where finished_at is null");
    this.addSql("create index task_finished on task (finished_at) where finished_at is not null");
    this.addSql("create unique index task_exclusive on task (instance_id) where exclusive = true and finished_at is null");
    this.addSql("create unique index task_client_request on task (client_request_id) where client_request_id is not null");
  }
}
