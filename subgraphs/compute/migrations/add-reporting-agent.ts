import { Migration } from "../../kit/store/migrations.ts";

/** Whose reports about a node are counted: a host without an agent of its own can be given from one to another. */
export class AddReportingAgent20261208 extends Migration {
  override up(): void {
    this.addSql("alter table node_report add column agent_id text");
  }
}
