import { Migration } from "../../kit/store/migrations.ts";

/** Devices of hosts: whose they are, and for whom they are kept. */
export class CreateDevices20261214 extends Migration {
  override up(): void {
    const { timestamp, int64 } = this.types;
    this.addSql(`create table device_assignment (
      node_id text not null,
      device text not null,
      instance_id text not null,
      kind text not null,
      state text not null,
      requested_by text not null,
      changed_at ${int64} not null,
      primary key (node_id, device)
    )`);
    this.addSql("create index device_assignment_instance on device_assignment (instance_id)");
    this.addSql("create index device_assignment_changed on device_assignment (changed_at)");
    this.addSql(`create table device_reservation (
      node_id text not null,
      device text not null,
      note text,
      reserved_by text not null,
      reserved_at ${timestamp} not null,
      primary key (node_id, device)
    )`);
  }
}
