import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../platform/request-context.ts";

/** Runs work again and again until the context's signal, `intervalMs` (± 20 %) apart; a failure is logged, and the next round tries again. */
export async function periodically(ctx: RequestContext, name: string, intervalMs: number, work: () => Promise<unknown>): Promise<void> {
  const { signal, log } = ctx;
  while (!signal.aborted) {
    try {
      await sleep(intervalMs * (0.8 + 0.4 * Math.random()), undefined, { signal, ref: false });
      await work();
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, `${name} failed; it is tried again`);
    }
  }
}
