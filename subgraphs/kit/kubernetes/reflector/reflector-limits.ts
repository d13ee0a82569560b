import type { ListLimits } from "./object-list.ts";
import type { RetryLimits } from "./retry-delay.ts";

export interface ReflectorLimits extends ListLimits, RetryLimits {
  /** How many of the latest changes are kept for those who come back. */
  maxChanges: number;
  /** Their JSON, in characters. */
  maxChangeBytes: number;
  maxSubscribers: number;
  /** How long a watch lasts before it is asked for again: at random between the two. */
  watchSeconds: readonly [shortest: number, longest: number];
  /** How long a cluster that has never answered is tried. */
  openMs: number;
  /** How long a refusal (no right, no such kind) is taken as passing: an API server that starts refuses what it grants a little later. */
  refusedMs: number;
}

export const DEFAULT_LIMITS: ReflectorLimits = {
  pageSize: 500,
  maxStateBytes: 64 * 1024 * 1024,
  maxChanges: 2_048,
  maxChangeBytes: 4 * 1024 * 1024,
  maxSubscribers: 256,
  watchSeconds: [300, 600],
  openMs: 10_000,
  refusedMs: 30_000,
  firstRetryMs: 500,
  longestRetryMs: 30_000,
};
