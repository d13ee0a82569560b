/** How operations on nodes are carried out. Durations in milliseconds. */
export interface OperationsConfig {
  /** Steps at once, of this process. */
  concurrent: number;
  /** A step's claim, by the database's clock; after a crash others wait for its end. */
  leaseMs: number;
  /** A step is ended then; shorter than the lease. */
  stepMs: number;
  /** How often the database is asked for operations that nobody was woken for. */
  sweepMs: number;
  /** Between two looks at what is waited for; grows up to the longest while somebody does not answer. */
  pollMs: number;
  longestPauseMs: number;
  /** To set the node's maintenance and ask its host; to hand the order over; to evacuate; to restore or undo. */
  preparingMs: number;
  handOverMs: number;
  evacuationMs: number;
  restoreMs: number;
  /** A host that is to shut down counts as down when it has not answered for this long. */
  silentMs: number;
  /** How long an ended operation can still be read. */
  retentionMs: number;
}

export const DEFAULT_OPERATIONS_CONFIG: OperationsConfig = {
  concurrent: 32,
  leaseMs: 80_000,
  stepMs: 70_000,
  sweepMs: 1_000,
  pollMs: 2_000,
  longestPauseMs: 15_000,
  preparingMs: 120_000,
  handOverMs: 120_000,
  evacuationMs: 6 * 3_600_000,
  restoreMs: 30 * 60_000,
  silentMs: 15_000,
  retentionMs: 90 * 86_400_000,
};
