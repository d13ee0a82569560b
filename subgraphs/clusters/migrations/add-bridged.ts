import { Migration } from "../../kit/store/migrations.ts";

/** Whether a node was added by URI, and the agent of another machine stands for it. */
export class AddBridged20261212 extends Migration {
  override up(): void {
    const no = this.dialect === "postgresql" ? "false" : "0";
    this.addSql(`alter table node add column bridged ${this.types.boolean} not null default ${no}`);
  }
}
