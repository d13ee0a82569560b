import { randomBytes } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createFileOnce } from "../../platform/tls/certificate-files.ts";

const LOCK_FILE = "agent.lock";
const ATTEMPTS = 3;

/**
 * Makes this process the only agent on a state directory. A lock names its holder by process id, the process's start time and the boot, so
 * that one left behind by SIGKILL or a power loss is known as stale even when its process id is in use again.
 * Gives a release function. Throws FAILED_PRECONDITION (reason StateInUse) while another agent runs.
 */
export async function lockState(stateDir: string): Promise<() => Promise<void>> {
  const path = join(stateDir, LOCK_FILE);
  const own = `${process.pid} ${await startOf(process.pid)} ${await bootId()} ${randomBytes(8).toString("hex")}\n`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    if (await createFileOnce(path, own)) return () => release(path, own);
    const found = await readFile(path, "utf8").catch(() => null);
    if (found === null) continue;
    if (await isHeld(found)) throw inUse(stateDir, found);
    await removeStale(path, found);
  }
  throw inUse(stateDir, "");
}

async function isHeld(content: string): Promise<boolean> {
  const [pid = "", start = "", boot = ""] = content.trim().split(" ");
  if (!/^\d+$/.test(pid) || boot !== (await bootId())) return false;
  return (await startOf(Number(pid))) === start;
}

/** Moves the lock aside first: whoever else judged it stale then finds nothing, or a new lock that he must not remove. */
async function removeStale(path: string, judged: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  const moved = await readFile(aside, "utf8");
  // Another process replaced it in between: its lock is put back.
  if (moved !== judged) await createFileOnce(path, moved);
  await rm(aside, { force: true });
}

async function release(path: string, own: string): Promise<void> {
  if ((await readFile(path, "utf8").catch(() => "")) === own) await rm(path, { force: true });
}

/** When a process started, in clock ticks since boot; empty where there is no such process. Field 22 of /proc/PID/stat. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  // The second field is the program's name in parentheses, and may hold anything.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

async function bootId(): Promise<string> {
  return (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
}

function inUse(stateDir: string, content: string): FleetError {
  const holder = content.split(" ")[0];
  return new FleetError(
    "FAILED_PRECONDITION",
    `Another agent${holder ? ` (process ${holder})` : ""} runs on ${stateDir}. Stop it, or give this one its own state directory.`,
    { reason: "StateInUse" },
  );
}
