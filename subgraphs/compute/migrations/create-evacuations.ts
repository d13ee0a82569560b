import { Migration } from "../../kit/store/migrations.ts";

/** What operations on nodes do with their instances. */
export class CreateEvacuations20261212 extends Migration {
  override up(): void {
    const { timestamp, boolean, int64 } = this.types;
    this.addSql(`create table evacuated_instance (
      operation_id text not null,
      instance_id text not null,
      node_id text not null,
      name text not null,
      state text not null,
      tries integer not null,
      task_id text,
      stop_revision ${int64},
      restart ${boolean} not null,
      not_before ${int64} not null,
      reason text,
      message text,
      created_at ${timestamp} not null,
      primary key (operation_id, instance_id)
    )`);
    this.addSql("create index evacuated_instance_node on evacuated_instance (node_id, created_at)");
  }
}
