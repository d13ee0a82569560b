export interface CheckPace {
  /** Between the checks of a cluster that is reached. */
  intervalMs: number;
  /** After a first failure, to be sure of it; also the least pause between two checks that something asked for. */
  confirmMs: number;
  /** The longest pause between the checks of a cluster that is not reached. */
  longestMs: number;
}

/** Milliseconds until a cluster's next check (up to 10 % more, so that they spread), after so many failures in a row: 60 s, then 5, 60, 120, 240, 300. */
export function pauseAfter(failures: number, pace: CheckPace, random: () => number = Math.random): number {
  return planned(failures, pace) * (1 + 0.1 * random());
}

function planned(failures: number, { intervalMs, confirmMs, longestMs }: CheckPace): number {
  if (failures === 0) return intervalMs;
  if (failures === 1) return Math.min(confirmMs, intervalMs);
  return Math.max(intervalMs, Math.min(longestMs, intervalMs * 2 ** Math.min(failures - 2, 20)));
}
