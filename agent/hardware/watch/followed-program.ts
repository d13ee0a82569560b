import type { Logger } from "../../../platform/observability/log.ts";
import { Backoff, jittered, pause } from "../../control-plane/backoff.ts";
import { type HostChannel, type HostCommand, HostReadError, type UnreadableReason } from "../../host/host-channel.ts";

export interface FollowedProgramOptions {
  host: HostChannel;
  command: HostCommand;
  onLine(line: string): void;
  /** It listens (again): what happened before was not told. */
  onStarted(): void;
  log: Logger;
  /** 1 s up to 30 s by default. */
  backoff?: { firstMs: number; longestMs: number };
}

const BACKOFF = { firstMs: 1000, longestMs: 30_000 };
/** One that ran this long was all right. */
const GOOD_AFTER_MS = 10_000;
/** Until it may have been installed, or a right been given. */
const MISSING_PAUSE_MS = 300_000;
/** A program needs a moment until it listens, and does not say when. */
const SETTLE_MS = 300;
const NEVER = new Set<UnreadableReason>(["NO_SHELL", "NOT_SUPPORTED"]);
const MISSING = new Set<UnreadableReason>(["NOT_INSTALLED", "NO_PERMISSION"]);

/** A program of the host that goes on telling what happens there. Started again whenever it ends, until the signal aborts; never throws. */
export async function followProgram(options: FollowedProgramOptions, signal: AbortSignal): Promise<void> {
  const { command, log } = options;
  const backoff = new Backoff(options.backoff ?? BACKOFF);
  let toldWhy = "";
  while (!signal.aborted) {
    const startedAt = performance.now();
    const { reason, message } = await followOnce(options, signal);
    if (signal.aborted) return;
    if (performance.now() - startedAt >= GOOD_AFTER_MS) {
      backoff.reset();
      toldWhy = "";
    }
    if (message !== toldWhy) log.warn({ program: command.program, reason }, message);
    toldWhy = message;
    if (reason !== null && NEVER.has(reason)) return;
    await pause(reason !== null && MISSING.has(reason) ? jittered(MISSING_PAUSE_MS, 0.1) : backoff.next(), signal);
  }
}

/** Resolves with why it ended. */
async function followOnce(
  { host, command, onLine, onStarted }: FollowedProgramOptions,
  signal: AbortSignal,
): Promise<{ reason: UnreadableReason | null; message: string }> {
  let settled: NodeJS.Timeout | undefined;
  try {
    const followed = await host.follow(command, signal);
    settled = setTimeout(onStarted, SETTLE_MS);
    try {
      for await (const line of followed.lines) onLine(line);
      const { exitCode, stderr } = await followed.ended;
      return { reason: null, message: `${command.program} ended (${exitCode ?? "killed"}) ${stderr.trim().slice(-200)}`.trim() };
    } finally {
      await followed.close();
    }
  } catch (error) {
    const reason = error instanceof HostReadError ? error.reason : "UNREADABLE";
    return { reason, message: error instanceof Error ? error.message : String(error) };
  } finally {
    clearTimeout(settled);
  }
}
