import type { TypedParameterInput } from "../../../libvirt/protocol/typed-parameters.ts";
import { MIGRATE } from "../../../libvirt/values.ts";
import type { MigrationChannel } from "../../migration-driver.ts";
import { socketPath } from "./socket-directory.ts";

const MIB = 1024 * 1024;

const textParameter = (name: string, value: string): TypedParameterInput => ({ name, type: "string", value });

/**
 * The same for all phases of an attempt; libvirt need not find out whether disks are shared: that was tried before. What concerns only the source
 * is added there.
 */
export function migrationFlags(copiesDisks: boolean): number {
  return MIGRATE.LIVE | MIGRATE.PERSIST_DEST | MIGRATE.UNDEFINE_SOURCE | MIGRATE.UNSAFE | (copiesDisks ? MIGRATE.NON_SHARED_DISK : 0);
}

/** Nothing else may be done to the domain between `begin` and `confirm`. */
export function sourceFlags(copiesDisks: boolean, slowsGuest = false): number {
  const own = MIGRATE.CHANGE_PROTECTION | MIGRATE.ABORT_ON_ERROR | (slowsGuest ? MIGRATE.AUTO_CONVERGE : 0);
  return migrationFlags(copiesDisks) | own;
}

/** Which disks are copied, by their targets. */
export function diskParameters(targets: readonly string[]): TypedParameterInput[] {
  return targets.map((target) => textParameter("migrate_disks", target));
}

/** Where the migration goes through: sockets that this side's QEMU or libvirt opens. */
export function channelParameters(directory: string, copiesDisks: boolean): TypedParameterInput[] {
  const uri = (channel: MigrationChannel) => `unix://${socketPath(directory, channel)}`;
  const memory = textParameter("migrate_uri", uri("memory"));
  return copiesDisks ? [memory, textParameter("disks_uri", uri("disks"))] : [memory];
}

export function domainParameters(domainXml: string, persistentXml: string | null): TypedParameterInput[] {
  const live = textParameter("destination_xml", domainXml);
  return persistentXml === null ? [live] : [live, textParameter("persistent_xml", persistentXml)];
}

export function nameParameter(name: string): TypedParameterInput[] {
  return [textParameter("destination_name", name)];
}

/** libvirt counts in MiB per second; 0 bytes is no limit. */
export function bandwidthParameters(bytesPerSecond: number): TypedParameterInput[] {
  if (bytesPerSecond === 0) return [];
  return [{ name: "bandwidth", type: "ullong", value: Math.max(1, Math.round(bytesPerSecond / MIB)) }];
}

export function channelsOf(copiesDisks: boolean): MigrationChannel[] {
  return copiesDisks ? ["memory", "disks"] : ["memory"];
}

export function encodeCookie(cookie: Uint8Array): string {
  return Buffer.from(cookie).toString("base64");
}

export function decodeCookie(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
