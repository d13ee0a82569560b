import type { LoadedConfig } from "../../platform/config/load-config.ts";
import type { Config } from "../../platform/config/settings.ts";
import { Lifecycle } from "../../platform/lifecycle.ts";
import { createLogger, type Logger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";

/** What every part of a process is started with. */
export interface ProcessContext {
  config: Config;
  log: Logger;
  metrics: Metrics;
  lifecycle: Lifecycle;
}

/** So that two idle timers of a part that hangs do not add up to the patience of a supervisor (30 s, often). */
const STOP_LIMIT_MS = 25_000;

/**
 * Runs a process that serves until a signal stops it. `start` says with `lifecycle.onStop` how each of its parts stops;
 * where it throws, what had started is stopped and the error passed on.
 */
export async function runProcess(
  name: string,
  { config, warnings }: LoadedConfig,
  start: (context: ProcessContext) => Promise<void>,
): Promise<void> {
  const log = createLogger({ name, level: config["log.level"], pretty: isPretty(config) });
  const lifecycle = new Lifecycle(log);
  const uninstall = lifecycle.installSignalHandlers();
  lifecycle.stopping.addEventListener("abort", () => {
    setTimeout(() => {
      log.error({ limitMs: STOP_LIMIT_MS }, "did not stop in time: exiting");
      process.exit(1);
    }, STOP_LIMIT_MS).unref();
  });
  for (const warning of warnings) log.warn(warning);
  try {
    await start({ config, log, metrics: new Metrics({ runtime: true }), lifecycle });
  } catch (error) {
    // Started and stopped at once: what fails then, fails because of the stop.
    if (lifecycle.stopping.aborted) return;
    await lifecycle.stop("the start failed");
    uninstall();
    throw error;
  }
}

function isPretty(config: Config): boolean {
  return config["log.format"] === "pretty" || (config["log.format"] === "auto" && process.stderr.isTTY === true);
}
