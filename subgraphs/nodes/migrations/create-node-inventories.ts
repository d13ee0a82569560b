import { Migration } from "../../kit/store/migrations.ts";

/** The hardware that agents report. */
export class CreateNodeInventories20261125 extends Migration {
  override up(): void {
    const { timestamp, json } = this.types;
    this.addSql(`create table node_inventory (
      node_id text not null primary key,
      digest text not null,
      hardware ${json} not null,
      observed_at ${timestamp} not null,
      reported_at ${timestamp} not null
    )`);
  }
}
