import { lstat, realpath, stat } from "node:fs/promises";
import { posix } from "node:path";
import { invalid, precondition } from "../../shared/refusals.ts";
import { isXmlText } from "../xml.ts";
import { shown } from "./names.ts";
import type { NetworkSource } from "./pool-xml.ts";

export interface PoolPathRules {
  /** Folders of the host below which pools may be made, as its configuration says. */
  roots: readonly string[];
  /** False: libvirt runs on another machine, whose links cannot be looked at. */
  isLocal: boolean;
}

const FIELD = "path";
const MAX_PATH_BYTES = 512;
/** With all that is below them, whatever the roots are. */
const SYSTEM_TREES = ["/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr"];
/** By themselves: what is below them may be allowed. */
const SYSTEM_FOLDERS = ["/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log", "/var/tmp"];
const SERVER = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])$/;
const EXPORT = /^\/[A-Za-z0-9._~@+/-]{0,500}$/;

/**
 * The directory for a pool, without links in it; "" asks for one below the first root. INVALID_ARGUMENT PoolPathInvalid for what is no plain path,
 * FAILED_PRECONDITION PoolPathNotAllowed for one outside of the roots or of the system's own, PoolRootsMissing, PoolsUnsupported.
 */
export async function poolPath(name: string, asked: string, { roots, isLocal }: PoolPathRules): Promise<string> {
  const [first] = roots;
  if (first === undefined) {
    throw precondition("PoolRootsMissing", "This host allows no pools: name folders for them in its configuration (agent.poolRoots).");
  }
  if (!isLocal) {
    throw precondition(
      "PoolsUnsupported",
      "Pools are made where the agent itself runs: links on a host that is reached by SSH cannot be checked.",
    );
  }
  const path = asked === "" ? posix.join(first, name) : asked;
  checkPlain(path);
  const resolved = await withoutLinks(path);
  const resolvedRoots = await Promise.all(roots.map((root) => withoutLinks(posix.normalize(root))));
  if (!resolvedRoots.some((root) => isBelow(resolved, root))) {
    throw notAllowed(`${shown(path)} is not below a folder that this host allows for pools (agent.poolRoots: ${roots.join(", ")}).`);
  }
  if (isOfTheSystem(resolved)) throw notAllowed(`${shown(path)} is the system's own.`);
  const there = await stat(resolved).catch(() => null);
  if (there !== null && !there.isDirectory()) throw notAllowed(`${shown(path)} is there, and is no directory.`);
  return resolved;
}

/** "server:/export". INVALID_ARGUMENT PoolSourceInvalid. */
export function networkSource(source: string): NetworkSource {
  const at = source.indexOf(":/");
  const [server, path] = [source.slice(0, Math.max(at, 0)), source.slice(at + 1)];
  if (at < 1 || !SERVER.test(server) || !EXPORT.test(path) || posix.normalize(path) !== path) {
    throw invalid("PoolSourceInvalid", "source", `${shown(source)} is no NFS export: write it as server:/export.`);
  }
  return { server: server.replace(/^\[|\]$/g, ""), export: path };
}

/** FAILED_PRECONDITION PoolOverlap where one directory is another's, or in it. */
export function checkApart(path: string, others: readonly { name: string; path: string }[]): void {
  const other = others.find((one) => one.path !== "" && (one.path === path || isBelow(one.path, path) || isBelow(path, one.path)));
  if (other === undefined) return;
  throw precondition("PoolOverlap", `${shown(path)} overlaps with the pool ${other.name} at ${other.path}.`, { field: FIELD });
}

export function isBelow(path: string, folder: string): boolean {
  return path.startsWith(folder === "/" ? "/" : `${folder}/`) && path !== folder;
}

function checkPlain(path: string): void {
  const isPlain = path.startsWith("/") && posix.normalize(path) === path && (path === "/" || !path.endsWith("/"));
  if (isPlain && Buffer.byteLength(path) <= MAX_PATH_BYTES && isXmlText(path) && !/\p{Cc}/u.test(path)) return;
  throw invalid("PoolPathInvalid", FIELD, `${shown(path)} is no absolute path without "..", links and a "/" at its end.`);
}

/** What is not there yet cannot be a link; one that leads nowhere is refused. */
async function withoutLinks(path: string): Promise<string> {
  const missing: string[] = [];
  for (let at = path; ; at = posix.dirname(at)) {
    try {
      return posix.join(await realpath(at), ...missing);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const isMissing = code === "ENOENT" && (await lstat(at).catch(() => null)) === null;
      if (!isMissing || at === "/") throw notAllowed(`${shown(path)} cannot be looked at: ${(error as Error).message}.`);
      missing.unshift(posix.basename(at));
    }
  }
}

function isOfTheSystem(path: string): boolean {
  return SYSTEM_FOLDERS.includes(path) || SYSTEM_TREES.some((tree) => path === tree || isBelow(path, tree));
}

function notAllowed(message: string) {
  return precondition("PoolPathNotAllowed", message, { field: FIELD });
}
