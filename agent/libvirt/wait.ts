import { FleetError } from "../../platform/errors/fleet-error.ts";

/** setTimeout takes no longer one: 24 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** A timer for `ms`, or none for a time that is as good as endless. */
export function timer(ms: number, onTime: () => void): NodeJS.Timeout | undefined {
  return ms > LONGEST_TIMER_MS ? undefined : setTimeout(onTime, ms);
}

/** Gives up on a promise: throws what `late` makes after `ms`, CANCELLED when the signal aborts. */
export async function waitAtMost<T>(promise: Promise<T>, ms: number, signal: AbortSignal | undefined, late: () => Error): Promise<T> {
  if (signal?.aborted) throw FleetError.from(signal.reason);
  const gaveUp = Promise.withResolvers<never>();
  const running = timer(ms, () => gaveUp.reject(late()));
  const onAbort = () => gaveUp.reject(FleetError.from(signal?.reason));
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, gaveUp.promise]);
  } finally {
    clearTimeout(running);
    signal?.removeEventListener("abort", onAbort);
  }
}
