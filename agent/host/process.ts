import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { type ExecOptions, type ExecResult, type FollowedCommand, type HostCommand, HostReadError } from "./host-channel.ts";
import { checkedSudo, followed, outputOf, type RunningProgram } from "./program.ts";
import { watchedArgs } from "./ssh/remote-shell.ts";

type Started = RunningProgram & { stdin: Writable };
type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Nothing of the agent's own; what programs say is in English. */
const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C.UTF-8" };

/** A shell's exit codes above it are 128 and the signal that ended its program. */
const SIGNALLED = 128;

/** Runs a program of this machine to its end. Throws HostReadError. */
export async function execProcess(command: HostCommand, options: ExecOptions): Promise<ExecResult> {
  options.signal?.throwIfAborted();
  const { program, args, bySudo } = asRoot(command);
  const result = await outputOf(command.program, await start(program, args), options);
  return bySudo ? checkedSudo(result, command.program) : result;
}

/**
 * Starts a program of this machine that is read line by line. Throws HostReadError. It ends with this process, also where that is killed:
 * monitors that have nothing to tell would not notice. What sudo runs as root has to notice by itself (journalctl does).
 */
export async function followProcess(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
  signal.throwIfAborted();
  const { program, args } = asRoot(command);
  await requireInstalled(program);
  const { stdin, stdout, stderr, closed, kill } = await start("sh", watchedArgs(program, args));
  const running: RunningProgram = {
    ...{ stdin: null, stdout, stderr },
    // As sh tells of a signal.
    closed: closed.then((code) => (typeof code === "number" && code > SIGNALLED ? null : code)),
    kill: (force) => {
      stdin.end();
      if (force) kill(true);
      else stdout.destroy();
    },
  };
  return followed(running, signal);
}

/** sh would tell so only later. */
async function requireInstalled(program: string): Promise<void> {
  for (const folder of ENVIRONMENT.PATH.split(":")) {
    const found = await access(resolve(folder, program), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return;
  }
  throw notInstalled(program);
}

function notInstalled(program: string, cause?: unknown): HostReadError {
  return new HostReadError("NOT_INSTALLED", program, `${program} is not installed on this host.`, cause);
}

/** By sudo, unless this process is root already. */
function asRoot({ privileged = false, program, args }: HostCommand): { program: string; args: readonly string[]; bySudo: boolean } {
  if (!privileged || process.getuid?.() === 0) return { program, args, bySudo: false };
  return { program: "sudo", args: ["-n", "--", program, ...args], bySudo: true };
}

async function start(program: string, args: readonly string[]): Promise<Started> {
  const child: Child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: ENVIRONMENT });
  const closed = once(child, "close").then(([code]) => (typeof code === "number" ? code : null));
  closed.catch(() => undefined);
  // What it is killed with, or a closed input, is told by its end.
  for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on("error", () => undefined);
  try {
    await once(child, "spawn");
    const { stdin, stdout, stderr } = child;
    const kill = (force: boolean) => {
      child.kill(force ? "SIGKILL" : "SIGTERM");
      stdout.destroy();
      // A program that it started may hold it open.
      if (force) stderr.destroy();
    };
    return { stdin, stdout, stderr, closed, kill };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT") throw notInstalled(program, error);
    const reason = code === "EACCES" ? "NO_PERMISSION" : "UNREADABLE";
    throw new HostReadError(reason, program, `${program} cannot be started (${code}).`, error);
  }
}
