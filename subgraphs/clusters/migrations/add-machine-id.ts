import { Migration } from "../../kit/store/migrations.ts";

/** By what a Kubernetes node is known to run on a host. */
export class AddMachineId20261221 extends Migration {
  override up(): void {
    this.addSql("alter table node add column machine_id varchar(32)");
  }
}
