import type { Procedure, StreamProcedure } from "./procedure.ts";
import { CONNECTION_PROCEDURES } from "./procedures/connection.ts";
import { DOMAIN_DEVICE_PROCEDURES } from "./procedures/domain-devices.ts";
import { DOMAIN_PROCEDURES } from "./procedures/domains.ts";
import { NETWORK_PROCEDURES } from "./procedures/networks.ts";
import { NODE_PROCEDURES } from "./procedures/node.ts";
import { QEMU_PROCEDURES } from "./procedures/qemu.ts";
import { SNAPSHOT_AND_MIGRATION_PROCEDURES } from "./procedures/snapshots-and-migration.ts";
import { STORAGE_PROCEDURES } from "./procedures/storage.ts";

/**
 * Every procedure that the client can call. To add one, add an entry to the file of its subject: name, number, arguments and result in the
 * order of the wire. Names are libvirt's in lower camel case, with neither REMOTE_PROC_ nor underscores. All types follow from here.
 */
export const PROCEDURES = {
  ...CONNECTION_PROCEDURES,
  ...DOMAIN_PROCEDURES,
  ...DOMAIN_DEVICE_PROCEDURES,
  ...SNAPSHOT_AND_MIGRATION_PROCEDURES,
  ...NETWORK_PROCEDURES,
  ...STORAGE_PROCEDURES,
  ...NODE_PROCEDURES,
  ...QEMU_PROCEDURES,
};

type Table = typeof PROCEDURES;
type AnyName = keyof Table;

/** Those that are followed by a stream. */
export type StreamProcedureName = { [P in AnyName]: Table[P] extends StreamProcedure<infer _A, infer _R> ? P : never }[AnyName];
export type ProcedureName = Exclude<AnyName, StreamProcedureName>;
export type ProcedureArguments<P extends AnyName> = Table[P] extends Procedure<infer Arguments, infer _R> ? Arguments : never;
export type ProcedureResult<P extends AnyName> = Table[P] extends Procedure<infer _A, infer Result> ? Result : never;

/** Types of its own where the table's are too narrow to be handled as one. */
export function procedureNamed(name: AnyName): Procedure<unknown, unknown> {
  return PROCEDURES[name] as Procedure<unknown, unknown>;
}
