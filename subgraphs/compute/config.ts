import type { AgentCallLimits } from "../kit/agents/agent-calls.ts";

/** What the compute subgraph can be told. Durations in milliseconds, measured by the monotonic clock of this process. */
export interface ComputeConfig {
  /** Where a new instance goes that asks for neither. */
  strategy: "spread" | "pack";
  /** How long a deleted instance can still be read. */
  deletedRetentionMs: number;
  dispatch: DispatchConfig;
  tasks: TaskConfig;
  /** How often deleted instances, reservations and nodes that are gone are looked after. */
  housekeepingMs: number;
  /** How often a node's own figure is compared with the reservations, and for how long both must have stood apart to be told. */
  driftCheckMs: number;
  driftAfterMs: number;
  /** Before a migration that failed is tried again for an operation on its node. */
  evacuationPauseMs: number;
  /** Of readings from agents. */
  agentCalls: Partial<AgentCallLimits>;
  /** The shortest interval of `instanceStats`: its seconds are counted in these. */
  sampleTickMs: number;
}

/** How agents are told what instances are to be. */
export interface DispatchConfig {
  /** For one call. */
  deadlineMs: number;
  /** Calls at once, to one node and in all. */
  perNode: number;
  overall: number;
  /** After a failure: the first and the longest pause, varied by half. */
  firstPauseMs: number;
  longestPauseMs: number;
  /** How often the database is asked for what nobody was woken for: another replica's changes, say. */
  sweepMs: number;
}

/** How work that takes long is carried out. */
export interface TaskConfig {
  /** How long a replica's claim on a task lasts, by the database's clock; renewed four times as often. After a crash others wait for its end. */
  leaseMs: number;
  /** How often the database is asked for tasks that nobody was woken for. */
  sweepMs: number;
  /** After a try that failed: the first and the longest pause, varied by half. */
  firstPauseMs: number;
  longestPauseMs: number;
  /** Progress is stored, and told, no more often. */
  progressMs: number;
  /** How long an ended task can still be read. */
  retentionMs: number;
}

export const DEFAULT_COMPUTE_CONFIG: ComputeConfig = {
  strategy: "spread",
  deletedRetentionMs: 7 * 86_400_000,
  dispatch: { deadlineMs: 10_000, perNode: 4, overall: 64, firstPauseMs: 500, longestPauseMs: 30_000, sweepMs: 5_000 },
  tasks: {
    leaseMs: 20_000,
    sweepMs: 2_000,
    firstPauseMs: 1_000,
    longestPauseMs: 30_000,
    progressMs: 1_000,
    retentionMs: 7 * 86_400_000,
  },
  housekeepingMs: 60_000,
  driftCheckMs: 15_000,
  driftAfterMs: 60_000,
  evacuationPauseMs: 5_000,
  agentCalls: {},
  sampleTickMs: 1_000,
};
