import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

/** For programs to end by themselves, and then for the kernel to end them. */
const GRACE_MS = 1000;
const LOOK_MS = 50;
/** Of /proc/PID/stat, behind the name in parentheses: state, parent, group, session. */
const STATE = 0;
const SESSION = 3;

/** Ends all processes of a terminal's session, of whichever group: asked to hang up first, then killed. Resolves when none is left, as a rule. */
export async function endSession(leader: number): Promise<void> {
  for (const signals of [["SIGHUP", "SIGCONT"], ["SIGKILL"]] as const) {
    const end = performance.now() + GRACE_MS;
    for (let left = await processesOf(leader); performance.now() < end; left = await processesOf(leader)) {
      if (left.length === 0) return;
      // Again and again: one may have been made meanwhile.
      signalAll(left, signals);
      await delay(LOOK_MS);
    }
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

function signalAll(pids: readonly number[], signals: readonly NodeJS.Signals[]): void {
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
