import { readdirSync, readFileSync } from "node:fs";
import type { Reporter } from "vitest/node";

export interface MemoryGuardOptions {
  /** What one process may hold, in MiB. */
  limitMib: number;
  lookEveryMs: number;
  write: (line: string) => void;
}

interface RunningProcess {
  pid: number;
  parent: number;
  /** Its anonymous memory: Buffers count, mapped files do not. */
  heldMib: number;
}

/**
 * Kills each process below this one that holds too much memory, and says so: that file's test fails, where otherwise the machine would
 * run out. A loop that never gives way to another task lets no time-out run, and what Buffers hold is no part of V8's own limit.
 * It looks into /proc; on other systems than Linux it does nothing.
 */
export class MemoryGuard implements Reporter {
  readonly #options: MemoryGuardOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: Partial<MemoryGuardOptions> = {}) {
    this.#options = { limitMib: 3072, lookEveryMs: 1000, write: (line) => process.stderr.write(line), ...options };
  }

  onTestRunStart(): void {
    if (process.platform !== "linux") return;
    this.#timer ??= setInterval(() => this.#look(), this.#options.lookEveryMs).unref();
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const { limitMib, write } = this.#options;
    for (const { pid, heldMib } of descendants(process.pid)) {
      if (heldMib <= limitMib) continue;
      const command = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
      write(`\n Killed process ${pid}, which held ${heldMib} MiB; a test may hold ${limitMib}. It was: ${command}\n`);
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
  }
}

function descendants(root: number): RunningProcess[] {
  const children = Map.groupBy(runningProcesses(), ({ parent }) => parent);
  const found = [...(children.get(root) ?? [])];
  for (const { pid } of found) found.push(...(children.get(pid) ?? []));
  return found;
}

function runningProcesses(): RunningProcess[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 0)
    .map((pid) => {
      const status = read(`/proc/${pid}/status`);
      const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
      return { pid, parent: field("PPid"), heldMib: Math.floor(field("RssAnon") / 1024) };
    });
}

/** Empty for a process that has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
