import { Migration } from "../../kit/store/migrations.ts";

/** Why a node is in maintenance, and since when. */
export class AddMaintenance20261207 extends Migration {
  override up(): void {
    this.addSql("alter table node add column maintenance_reason text");
    this.addSql(`alter table node add column maintenance_since ${this.types.timestamp}`);
  }
}
