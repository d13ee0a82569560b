import { createHash } from "node:crypto";
import { chmod, chown, mkdir, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { MigrationChannel } from "../../migration-driver.ts";

/** Whom QEMU runs as. */
export interface QemuUser {
  uid: number;
  gid: number;
}

/** Where this user's sockets may be: a UNIX socket's path has 107 bytes at most, which a state directory may take up alone. */
export function socketRoot(): string {
  const { uid } = userInfo();
  return uid === 0 ? "/run/fleetgraph" : join(tmpdir(), `fleetgraph-${uid}`);
}

/** Always the same for an attempt of one agent, so that it is found again after the agent's end. `owner` tells agents of one machine apart. */
export function socketDirectory(owner: string, migrationId: string, role: "source" | "destination"): string {
  const name = createHash("sha256")
    .update(JSON.stringify([owner, migrationId, role]))
    .digest("hex")
    .slice(0, 20);
  return join(socketRoot(), name);
}

export function socketPath(directory: string, channel: MigrationChannel): string {
  return join(directory, channel);
}

/** Empty, and open for QEMU and the agent alone. */
export async function makeSocketDirectory(directory: string, qemu: QemuUser): Promise<void> {
  const root = socketRoot();
  await mkdir(root, { recursive: true, mode: 0o711 });
  if (userInfo().uid === 0) await chmod(root, 0o711);
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { mode: 0o700 });
  await giveTo(directory, qemu);
}

/** Root's alone to do; an agent that is not root runs QEMU as itself. */
export async function giveTo(path: string, { uid, gid }: QemuUser): Promise<void> {
  if (userInfo().uid === 0) await chown(path, uid, gid);
}

export async function removeSocketDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}
