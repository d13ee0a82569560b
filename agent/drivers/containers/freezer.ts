import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const CGROUPS = "/sys/fs/cgroup";
const ATTEMPTS = 50;
const PAUSE_MS = 10;

/** Where the kernel keeps whether a container's processes are frozen, and what it says there. */
interface Freezer {
  path: string;
  frozen: string;
  thawed: string;
}

/**
 * Whether the kernel has frozen a container's processes, whatever its engine thinks: an engine that was killed while it froze or thawed them does
 * not know, and refuses both from then on. Null where this cannot be told: the processes are not this machine's, or not the agent's to see.
 */
export async function isFrozen(containerId: string, pid: number): Promise<boolean | null> {
  const freezer = await findFreezer(containerId, pid);
  return freezer === null ? null : await read(freezer);
}

/** False where the kernel did not do it. */
export async function setFrozen(containerId: string, pid: number, frozen: boolean): Promise<boolean> {
  const freezer = await findFreezer(containerId, pid);
  if (freezer === null) return false;
  try {
    await writeFile(freezer.path, frozen ? freezer.frozen : freezer.thawed);
  } catch {
    return false;
  }
  for (let count = 0; count < ATTEMPTS; count += 1) {
    if ((await read(freezer)) === frozen) return true;
    await delay(PAUSE_MS);
  }
  return false;
}

/** cgroup v1 has a hierarchy for freezing, v2 one for everything. The container's own group is the one with its id in its name. */
async function findFreezer(containerId: string, pid: number): Promise<Freezer | null> {
  const lines = (await readFile(`/proc/${pid}/cgroup`, "utf8").catch(() => "")).split("\n");
  const pathIn = (controller: string) => {
    const path = lines.map((line) => line.split(":")).find(([, controllers]) => controllers?.split(",").includes(controller))?.[2];
    const words = path?.split("/") ?? [];
    const own = words.findIndex((word) => word.includes(containerId));
    return own < 0 ? null : words.slice(0, own + 1).join("/");
  };
  const v1 = pathIn("freezer");
  if (v1 !== null) return { path: join(CGROUPS, "freezer", v1, "freezer.state"), frozen: "FROZEN", thawed: "THAWED" };
  const v2 = pathIn("");
  return v2 === null ? null : { path: join(CGROUPS, v2, "cgroup.freeze"), frozen: "1", thawed: "0" };
}

async function read({ path, frozen, thawed }: Freezer): Promise<boolean | null> {
  const text = (await readFile(path, "utf8").catch(() => "")).trim();
  if (text === thawed) return false;
  // FREEZING: on its way.
  return text === frozen || text === "FREEZING" ? true : null;
}
