import { Migration } from "../../kit/store/migrations.ts";

/** Inventories by part. What was reported before is the part HARDWARE. */
export class CreateInventoryParts20261207 extends Migration {
  override up(): void {
    const { timestamp, json } = this.types;
    this.addSql(`create table node_inventory_part (
      node_id text not null,
      part text not null,
      digest text not null,
      content ${json} not null,
      observed_at ${timestamp} not null,
      reported_at ${timestamp} not null,
      primary key (node_id, part)
    )`);
    this.addSql(`insert into node_inventory_part (node_id, part, digest, content, observed_at, reported_at)
      select node_id, 'HARDWARE', digest, hardware, observed_at, reported_at from node_inventory`);
    this.addSql("drop table node_inventory");
  }
}
