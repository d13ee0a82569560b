import { realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import type { InstanceSpec, VolumeMount } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { invalid, precondition } from "../shared/refusals.ts";

/** As the engine takes it. */
export interface ContainerMount {
  Type: "bind" | "volume";
  Source: string;
  Target: string;
  ReadOnly: boolean;
  BindOptions?: { Propagation: "rprivate" };
}

/** A container's own file systems: what is put over them breaks it, or lets it out. */
const RESERVED = ["/proc", "/sys", "/dev"] as const;
const VOLUME_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const MAX_PATH = 1024;

/**
 * What `spec.volumeMounts` means. A plain name is a volume of the instance's own: made with it, kept while it is stopped, removed with it.
 * An absolute path is a directory or file of the host, which must be in one of `roots`, wherever its symbolic links lead; the engine gets
 * the path without links. INVALID_ARGUMENT or FAILED_PRECONDITION (MountNotAllowed, MountMissing) with the field.
 */
export async function containerMounts(instanceId: string, spec: InstanceSpec, roots: readonly string[]): Promise<ContainerMount[]> {
  const targets = new Set<string>();
  const mounts: ContainerMount[] = [];
  for (const [index, mount] of spec.volumeMounts.entries()) {
    const field = `spec.volumeMounts[${index}]`;
    const target = mountTarget(mount, `${field}.mountPath`);
    if (targets.has(target)) throw invalid("MountInvalid", `${field}.mountPath`, `${target} is mounted twice.`);
    targets.add(target);
    mounts.push(await containerMount(instanceId, mount, target, `${field}.name`, roots));
  }
  return mounts;
}

/** The engine's name of an instance's volume. */
export function volumeName(instanceId: string, name: string): string {
  return `${instanceId}.${name}`;
}

/**
 * Looks again at what a container has mounted, before each start: a directory that was there when it was made may have become a link since,
 * by somebody who can write beside it. Whoever can do that within milliseconds can still win; give instances roots that they do not share.
 */
export async function checkSources(sources: readonly string[], roots: readonly string[]): Promise<void> {
  for (const source of sources) {
    const path = await existingPath(source, "spec.volumeMounts");
    if (path !== source) {
      throw precondition("MountNotAllowed", `${source} has become a link to ${path}: it is not mounted.`, { field: "spec.volumeMounts" });
    }
    await checkAllowed(source, path, "spec.volumeMounts", roots);
  }
}

function mountTarget({ mountPath }: VolumeMount, field: string): string {
  const isPlain = mountPath.startsWith("/") && mountPath.length <= MAX_PATH && !/[\0\n]/.test(mountPath);
  if (!isPlain || mountPath.split("/").includes("..")) {
    throw invalid("MountInvalid", field, `${JSON.stringify(mountPath.slice(0, 200))} is no absolute path without "..".`);
  }
  const path = posix.normalize(mountPath).replace(/(?<=.)\/$/, "");
  if (path === "/" || RESERVED.some((reserved) => path === reserved || path.startsWith(`${reserved}/`))) {
    throw invalid("MountInvalid", field, `Nothing can be mounted at ${path}: it is the container's own.`);
  }
  return path;
}

async function containerMount(
  instanceId: string,
  { name, readOnly }: VolumeMount,
  target: string,
  field: string,
  roots: readonly string[],
): Promise<ContainerMount> {
  if (VOLUME_NAME.test(name)) return { Type: "volume", Source: volumeName(instanceId, name), Target: target, ReadOnly: readOnly };
  if (!name.startsWith("/") || /[\0\n]/.test(name)) {
    const message = `${JSON.stringify(name.slice(0, 200))} is neither a volume's name (letters, digits, "_", "-", ".") nor a path of the host.`;
    throw invalid("MountInvalid", field, message);
  }
  const path = await existingPath(name, field);
  await checkAllowed(name, path, field, roots);
  return { Type: "bind", Source: path, Target: target, ReadOnly: readOnly, BindOptions: { Propagation: "rprivate" } };
}

/** Without links. */
async function existingPath(path: string, field: string): Promise<string> {
  try {
    const found = await realpath(path);
    const entry = await stat(found);
    if (entry.isDirectory() || entry.isFile()) return found;
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "is not there" : `cannot be read: ${(cause as Error).message}`;
    throw precondition("MountMissing", `${path} ${why} on this host. Make it there first.`, { field });
  }
  // A socket or a device would hand over more than files.
  throw precondition("MountNotAllowed", `${path} is neither a directory nor a file.`, { field });
}

async function checkAllowed(asked: string, path: string, field: string, roots: readonly string[]): Promise<void> {
  for (const root of roots) {
    const real = await realpath(root).catch(() => null);
    if (real !== null && (path === real || path.startsWith(real === "/" ? "/" : `${real}/`))) return;
  }
  const leads = path === asked ? "" : `, which leads to ${path},`;
  const allowed =
    roots.length === 0
      ? "this host's configuration allows none (agent.mountRoots)"
      : `only what is in ${roots.join(", ")} may be (agent.mountRoots)`;
  throw precondition("MountNotAllowed", `${asked}${leads} may not be mounted: ${allowed}.`, { field, roots: [...roots] });
}
