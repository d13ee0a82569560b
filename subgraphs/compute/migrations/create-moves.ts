import { Migration } from "../../kit/store/migrations.ts";

/** Instances on their way to another node, what they leave behind, and which placement numbers were given. */
export class CreateMoves20261206 extends Migration {
  override up(): void {
    const { timestamp, boolean, int64 } = this.types;
    this.addSql(`alter table instance add column highest_generation ${int64} not null default 0`);
    this.addSql(`create table instance_move (
      instance_id text not null primary key,
      task_id text not null,
      source_node_id text not null,
      target_node_id text not null,
      generation ${int64} not null,
      cpu_cores integer not null,
      memory_bytes ${int64} not null,
      disk_bytes ${int64} not null,
      gpu_count integer not null
    )`);
    this.addSql(`create table former_placement (
      instance_id text not null,
      node_id text not null,
      generation ${int64} not null,
      revision ${int64} not null,
      keep_disks ${boolean} not null,
      migration_id text not null,
      side text not null,
      cookie text not null,
      created_at ${timestamp} not null,
      primary key (instance_id, node_id)
    )`);
  }
}
