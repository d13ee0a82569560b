import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** For programs to end by themselves. */
const GRACE_MS = 1000;
const LOOK_MS = 50;
/** Of /proc/PID/stat, behind the name in parentheses: state, parent, group, session. */
const STATE = 0;
const SESSION = 3;

/** Ends all processes of a terminal's session, of whichever group: asked to hang up first, then killed. Resolves when none is left. */
export async function endSession(leader: number): Promise<void> {
  const end = performance.now() + GRACE_MS;
  signalAll(await processesOf(leader), "SIGHUP", "SIGCONT");
  for (;;) {
    const left = await processesOf(leader);
    if (left.length === 0) return;
    if (performance.now() > end) return signalAll(left, "SIGKILL");
    await delay(LOOK_MS);
  }
}

async function processesOf(leader: number): Promise<number[]> {
  const pids = (await readdir("/proc")).map(Number).filter((pid) => pid > 0);
  const own = await Promise.all(pids.map(async (pid) => ((await isOf(leader, pid)) ? [pid] : [])));
  return own.flat();
}

async function isOf(leader: number, pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[SESSION]) === leader && fields[STATE] !== "Z";
}

function signalAll(pids: readonly number[], ...signals: NodeJS.Signals[]): void {
  for (const pid of pids) {
    for (const signal of signals) {
      try {
        process.kill(pid, signal);
      } catch {
        // It ended by itself.
      }
    }
  }
}
