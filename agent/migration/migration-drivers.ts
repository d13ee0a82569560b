import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { InstanceDriver } from "../drivers/instance-driver.ts";
import type { MigrationDriver } from "../drivers/migration-driver.ts";

/** FAILED_PRECONDITION MigrationUnsupported where a driver moves nothing. */
export function migrationsOf({ migrations }: InstanceDriver): MigrationDriver {
  if (migrations === null) throw unsupported();
  return migrations;
}

/** Of a host that has nothing of an instance yet. */
export function anyMigrations(drivers: readonly InstanceDriver[]): MigrationDriver {
  const found = drivers.find(({ migrations }) => migrations !== null)?.migrations;
  if (found === undefined || found === null) throw unsupported();
  return found;
}

function unsupported(): FleetError {
  const message = "Only virtual machines are moved while they run, and only between hosts whose agents run on them, beside libvirt.";
  return new FleetError("FAILED_PRECONDITION", message, { reason: "MigrationUnsupported" });
}
