import { randomBytes } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createFileOnce } from "../../platform/tls/certificate-files.ts";

const LOCK_FILE = "agent.lock";
const ATTEMPTS = 100;
const PAUSE_MS = 10;

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
    await removeStale(path, found, own);
  }
  throw inUse(stateDir, "");
}

async function isHeld(content: string): Promise<boolean> {
  const [pid = "", start = "", boot = ""] = content.trim().split(" ");
  if (!/^\d+$/.test(pid) || boot !== (await bootId())) return false;
  return (await startOf(Number(pid))) === start;
}

/**
 * One process at a time removes what it judged stale, and only while it is still there: two that did so at once could remove the lock of a third.
 * Who is killed while it removes leaves its claim behind, which the next one removes.
 */
async function removeStale(path: string, judged: string, own: string): Promise<void> {
  const claim = `${path}.removal`;
  if (await createFileOnce(claim, own)) {
    try {
      if ((await readFile(path, "utf8").catch(() => null)) === judged) await rm(path, { force: true });
    } finally {
      await rm(claim, { force: true });
    }
    return;
  }
  const claimant = await readFile(claim, "utf8").catch(() => null);
  if (claimant !== null && !(await isHeld(claimant))) await rm(claim, { force: true });
  else await sleep(PAUSE_MS);
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
