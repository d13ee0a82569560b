import type { Logger } from "./observability/log.ts";

interface StopStep {
  name: string;
  run: () => unknown;
  timeoutMs: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** One Ctrl-C reaches the process several times: from the terminal, and handed on by npm and whatever else started it. */
const SAME_SIGNAL_MS = 500;

/**
 * What a process has started and must end again. Parts say at start how they stop; they stop in reverse order, one after the other,
 * each within its time: one that hangs or fails is logged and passed over.
 */
export class Lifecycle {
  readonly #log: Logger;
  readonly #steps: StopStep[] = [];
  readonly #stopping = new AbortController();
  #stopped: Promise<void> | null = null;
  #exitCode = 0;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Aborts at the very start of the stop, before the first step. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Adds a step; returns a function that takes it away again. A step that is added while stopping runs at once. */
  onStop(name: string, run: () => unknown, timeoutMs: number = DEFAULT_TIMEOUT_MS): () => void {
    const step = { name, run, timeoutMs };
    if (this.#stopping.signal.aborted) {
      void this.#run(step);
      return () => undefined;
    }
    this.#steps.push(step);
    return () => {
      const index = this.#steps.indexOf(step);
      if (index >= 0) this.#steps.splice(index, 1);
    };
  }

  /** Stops everything; a second call joins the first. Never throws. */
  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stopAll(reason);
    return this.#stopped;
  }

  /** Stops because a part failed that the process cannot do without; the process then exits with 1. */
  fail(reason: string, error: unknown): Promise<void> {
    this.#log.error({ err: error }, reason);
    this.#exitCode = 1;
    return this.stop(reason);
  }

  /** SIGTERM and SIGINT stop and then exit; a second signal exits at once. An exception that nobody caught stops, too. Returns an undo. */
  installSignalHandlers(exit: (code: number) => void = process.exit): () => void {
    let firstAt: number | null = null;
    const onSignal = (signal: NodeJS.Signals) => {
      const now = performance.now();
      if (firstAt !== null) {
        if (now - firstAt < SAME_SIGNAL_MS) return;
        this.#log.warn({ signal }, "second signal: exiting at once");
        exit(1);
        return;
      }
      firstAt = now;
      void this.stop(signal).then(() => exit(this.#exitCode));
    };
    const onFault = (error: unknown) => {
      void this.fail("uncaught exception", error).then(() => exit(1));
    };
    process.on("SIGTERM", onSignal).on("SIGINT", onSignal).on("uncaughtException", onFault).on("unhandledRejection", onFault);
    return () => {
      process.off("SIGTERM", onSignal).off("SIGINT", onSignal).off("uncaughtException", onFault).off("unhandledRejection", onFault);
    };
  }

  async #stopAll(reason: string): Promise<void> {
    const startedAt = performance.now();
    this.#log.info({ reason }, "stopping");
    this.#stopping.abort(new DOMException(`The process is stopping: ${reason}`, "AbortError"));
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) await this.#run(step);
    this.#log.info({ durationMs: Math.round(performance.now() - startedAt) }, "stopped");
  }

  async #run({ name, run, timeoutMs }: StopStep): Promise<void> {
    const timeout = Promise.withResolvers<"timeout">();
    const timer = setTimeout(() => timeout.resolve("timeout"), timeoutMs);
    try {
      const outcome = await Promise.race([(async () => run())(), timeout.promise]);
      if (outcome === "timeout") this.#log.warn({ step: name, timeoutMs }, "did not stop in time, passed over");
    } catch (error) {
      this.#log.warn({ step: name, err: error }, "failed to stop");
    } finally {
      clearTimeout(timer);
    }
  }
}
