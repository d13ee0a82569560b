import { Migration } from "../../kit/store/migrations.ts";

/** Accounts for the registries that images come from; their passwords are sealed. */
export class CreateRegistryCredentials20261206 extends Migration {
  override up(): void {
    const { timestamp } = this.types;
    const registry = this.dialect === "postgresql" ? 'text collate "C"' : "text";
    this.addSql(`create table registry_credential (
      registry ${registry} not null primary key,
      username text not null,
      sealed_password text not null,
      updated_by text not null,
      updated_at ${timestamp} not null
    )`);
  }
}
