import type { Logger } from "../observability/log.ts";
import { renewalTime } from "./certificate-files.ts";

export interface RenewalOptions {
  /** The certificate in use, PEM or DER. */
  certificate: string | Uint8Array;
  /** Gets, keeps and puts to use the next certificate, and returns it. A throw is tried again. */
  renew: (signal: AbortSignal) => Promise<string | Uint8Array>;
  /** Ends the renewing. */
  signal: AbortSignal;
  log: Logger;
  /** Between attempts: the first and the longest pause, in milliseconds. */
  retryMs?: { first: number; longest: number };
}

/** Longer waits are cut: `setTimeout` holds 24 days, and clocks are set. */
const MAX_WAIT_MS = 3_600_000;

/**
 * Renews a certificate whenever the last third of its life begins, for as long as the signal allows. Attempts that fail are repeated with
 * a growing, varied pause, so that a fleet that could not reach the control plane does not come back all at once.
 */
export async function keepRenewed({
  renew,
  signal,
  log,
  retryMs = { first: 5000, longest: 600_000 },
  ...options
}: RenewalOptions): Promise<void> {
  let { certificate } = options;
  let pause = retryMs.first;
  while (!signal.aborted) {
    const left = renewalTime(certificate).getTime() - Date.now();
    if (left > 0) {
      await sleep(Math.min(left, MAX_WAIT_MS), signal);
      continue;
    }
    let renewed = false;
    try {
      certificate = await renew(signal);
      renewed = true;
    } catch (err) {
      if (signal.aborted) return;
      log.warn({ err, retryInMs: Math.round(pause) }, "a certificate could not be renewed");
    }
    // Also after a success: a certificate that is due as soon as it is made must not make a busy loop.
    await sleep(pause * (0.75 + Math.random() / 2), signal);
    pause = renewed ? retryMs.first : Math.min(pause * 2, retryMs.longest);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    timer.unref();
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
