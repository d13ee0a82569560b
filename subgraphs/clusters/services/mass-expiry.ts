const RATIO = 0.3;

/** Leases that expired within this time are counted together. */
export const MASS_EXPIRY_WINDOW_MS = 60_000;

/**
 * True when so many nodes were lost within a minute (over 30 % of those that were alive) that the fault is more likely here, or in the
 * network, than in the hosts: then statuses change, and nothing else is done by itself.
 */
export function isMassExpiry(expiredLately: number, running: number): boolean {
  return expiredLately > 0 && expiredLately / (expiredLately + running) > RATIO;
}
