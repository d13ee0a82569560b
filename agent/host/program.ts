import type { Readable, Writable } from "node:stream";
import { type ExecOptions, type ExecResult, type FollowedCommand, HostReadError } from "./host-channel.ts";

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 4 * 1024 * 1024;
const STDERR_BYTES = 4096;
const MAX_LINE = 64 * 1024;
const KILL_AFTER_MS = 1000;

/** A program that runs, here or on another machine. */
export interface RunningProgram {
  /** Null where it reads nothing. */
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when it and its output have ended: with its exit code, null where a signal ended it, or why that is not known. Never rejects. */
  readonly closed: Promise<number | null | Error>;
  /** Asks it to end, or (`force`) ends it; `closed` resolves soon after that. What it writes is no longer read. */
  kill(force: boolean): void;
}

/** Waits for its end with all of its output. Throws TIMEOUT, UNREADABLE for too much output, and what lost it. */
export async function outputOf(name: string, running: RunningProgram, options: ExecOptions): Promise<ExecResult> {
  const { timeoutMs = TIMEOUT_MS, maxBytes = MAX_BYTES, input = "", signal } = options;
  const output: Buffer[] = [];
  let length = 0;
  const givenUp = Promise.withResolvers<null>();
  let failure: unknown = null;
  const kill = (error: unknown) => {
    if (failure === null) setTimeout(givenUp.resolve, KILL_AFTER_MS, null);
    failure ??= error;
    running.kill(true);
  };
  const onAbort = () => kill(signal?.reason);
  const onTime = () => kill(new HostReadError("TIMEOUT", name, `${name} did not end within ${timeoutMs / 1000} s.`));
  const timer = setTimeout(onTime, Math.max(0, timeoutMs));
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  running.stdout.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > maxBytes) kill(new HostReadError("UNREADABLE", name, `${name} wrote more than ${maxBytes} bytes.`));
    else output.push(chunk);
  });
  const stderr = lastOf(running.stderr);
  running.stdin?.end(input);
  try {
    // What sudo runs as root cannot be killed by another account: nobody waits for it.
    const end = await Promise.race([running.closed, givenUp.promise]);
    if (failure !== null) throw failure;
    if (end instanceof Error) throw end;
    return { exitCode: end ?? 128, stdout: Buffer.concat(output).toString("utf8"), stderr: stderr() };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Reads it line by line until it ends, is closed, or the signal aborts. */
export function followed(running: RunningProgram, signal: AbortSignal): FollowedCommand {
  running.stdin?.end();
  const stderr = lastOf(running.stderr);
  const ended = running.closed.then((end) =>
    end instanceof Error ? { exitCode: null, stderr: `${stderr()}${end.message}` } : { exitCode: end, stderr: stderr() },
  );
  const close = async () => {
    signal.removeEventListener("abort", close);
    running.kill(false);
    const timer = setTimeout(() => running.kill(true), KILL_AFTER_MS);
    await ended;
    clearTimeout(timer);
  };
  signal.addEventListener("abort", close, { once: true });
  void ended.then(() => signal.removeEventListener("abort", close));
  if (signal.aborted) void close();
  return { lines: linesOf(running.stdout), ended, close };
}

/** sudo itself refused: the program never ran. */
export function checkedSudo(result: ExecResult, program: string): ExecResult {
  const said = result.stderr.trim();
  if (result.exitCode !== 1 || !/^sudo: /m.test(said)) return result;
  if (/command not found/.test(said)) throw new HostReadError("NOT_INSTALLED", program, `${program} is not installed on this host.`);
  throw new HostReadError("NO_PERMISSION", program, `This account may not run ${program} as root: ${said}`);
}

/** The stream is read as lines are asked for. One that is destroyed just ends. */
async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = "";
  try {
    for await (const chunk of stream.setEncoding("utf8") as AsyncIterable<string>) {
      const lines = chunk.split("\n");
      lines[0] = rest + lines[0];
      rest = (lines.pop() ?? "").slice(0, MAX_LINE);
      for (const line of lines) yield line.replace(/\r$/, "").slice(0, MAX_LINE);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
  if (rest !== "") yield rest;
}

function lastOf(stream: Readable): () => string {
  let text = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-STDERR_BYTES);
  });
  return () => text;
}
