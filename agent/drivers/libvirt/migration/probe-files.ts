import { createHash, randomBytes } from "node:crypto";
import { access, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const PREFIX = ".fleetgraph-seen-by-";
const KEPT_MS = 600_000;

interface Probe {
  paths: string[];
  timer: NodeJS.Timeout;
}

/** Files by which another host's agent finds out whether it sees the same directories. */
export class ProbeFiles {
  /** Tells the files of agents apart that share a directory. */
  readonly #own: string;
  readonly #probes = new Map<string, Probe>();

  constructor(owner: string) {
    this.#own = `${PREFIX}${createHash("sha256").update(owner).digest("hex").slice(0, 16)}-`;
  }

  /** Makes one in each of them, and gives its name. It is there for ten minutes, or until another is made for the same instance. */
  async make(instanceId: string, directories: Iterable<string>): Promise<string> {
    await this.remove(instanceId);
    const name = this.#own + randomBytes(16).toString("hex");
    const paths = [...new Set(directories)].map((directory) => join(directory, name));
    const timer = setTimeout(() => void this.remove(instanceId), KEPT_MS);
    timer.unref();
    this.#probes.set(instanceId, { paths, timer });
    for (const path of paths) await writeFile(path, "", { mode: 0o600 });
    return name;
  }

  async remove(instanceId: string): Promise<void> {
    const probe = this.#probes.get(instanceId);
    clearTimeout(probe?.timer);
    this.#probes.delete(instanceId);
    for (const path of probe?.paths ?? []) await rm(path, { force: true }).catch(() => undefined);
  }

  /** Of an agent that ended before it removed them. */
  async clear(directories: Iterable<string>): Promise<void> {
    const current = new Set([...this.#probes.values()].flatMap(({ paths }) => paths));
    for (const directory of new Set(directories)) {
      const names = await readdir(directory).catch(() => []);
      const old = names.filter((name) => name.startsWith(this.#own)).map((name) => join(directory, name));
      for (const path of old) if (!current.has(path)) await rm(path, { force: true });
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#probes.keys()].map((instanceId) => this.remove(instanceId)));
  }
}

/** Whether this host sees what another one made; `name` is another agent's word. */
export async function seesProbe(directory: string, name: string): Promise<boolean> {
  if (!name.startsWith(PREFIX) || name.includes("/")) return false;
  return await access(join(directory, name)).then(
    () => true,
    () => false,
  );
}
