import { createHash, randomBytes } from "node:crypto";
import { access, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const PREFIX = ".fleetgraph-seen-by-";
const KEPT_MS = 600_000;

/** Files by which another host's agent finds out whether it sees the same directories. */
export class ProbeFiles {
  /** Tells the files of agents apart that share a directory. */
  readonly #own: string;
  readonly #timers = new Map<string, NodeJS.Timeout>();

  constructor(owner: string) {
    this.#own = `${PREFIX}${createHash("sha256").update(owner).digest("hex").slice(0, 16)}-`;
  }

  /** Makes one in each of them, and gives its name. It is there for ten minutes. */
  async make(directories: Iterable<string>): Promise<string> {
    const name = this.#own + randomBytes(16).toString("hex");
    for (const directory of new Set(directories)) {
      const path = join(directory, name);
      await writeFile(path, "", { mode: 0o600 });
      const timer = setTimeout(() => void this.#remove(path), KEPT_MS);
      timer.unref();
      this.#timers.set(path, timer);
    }
    return name;
  }

  /** Of an agent that ended before it removed them. */
  async clear(directories: Iterable<string>): Promise<void> {
    for (const directory of new Set(directories)) {
      const names = await readdir(directory).catch(() => []);
      for (const name of names) if (name.startsWith(this.#own)) await rm(join(directory, name), { force: true });
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#timers.keys()].map((path) => this.#remove(path)));
  }

  async #remove(path: string): Promise<void> {
    clearTimeout(this.#timers.get(path));
    this.#timers.delete(path);
    await rm(path, { force: true }).catch(() => undefined);
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
