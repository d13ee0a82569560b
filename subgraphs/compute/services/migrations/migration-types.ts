import type { FleetError } from "../../../../platform/errors/fleet-error.ts";

/** One thing that a migration needs. */
export interface MigrationCheck {
  /** In PascalCase, such as CpuBaseline. */
  name: string;
  passed: boolean;
  /** What is missing, and what to do; empty where it passed. */
  message: string;
}

/** What speaks for and against moving an instance to a node. */
export interface MigrationPreflight {
  /** Null: no target was looked at, because of what the instance or its node lacks. */
  targetNodeId: string | null;
  /** Of the control plane first, then of the source, then of the target. */
  checks: MigrationCheck[];
  /** The hosts do not share its disks. */
  copiesDisks: boolean;
  bytesToCopy: number;
  /** Of the instance as it runs, for the target's agent; null where the source's could not say. */
  description: string | null;
}

/** Why a migration is undone: what its task ends with. */
export type MigrationFailure = { code: FleetError["code"]; reason: string | null; message: string };

/**
 * How far a migration is. Each step is stored before it is taken:
 * - RESERVED: the target has room for it; nothing was asked of either agent.
 * - PREPARING: the attempt is opened at the source, and the target waits for the guest.
 * - PERFORMING: the guest is copied while it runs.
 * - FINISHING: the target is to run it. From here on it cannot be cancelled.
 * - UNDOING: the attempt is ended at the target, then at the source.
 * - COMMITTED: it is an instance of the target; the source's leftovers go.
 */
export type MigrationStep = "RESERVED" | "PREPARING" | "PERFORMING" | "FINISHING" | "UNDOING" | "COMMITTED";

export type MigrationCheckpoint = {
  step: MigrationStep;
  instanceId: string;
  sourceNodeId: string;
  sourceGeneration: number;
  targetNodeId: string;
  /** Of the placement on the target. */
  generation: number;
  /** Who brings it may use the tunnel. Shown nowhere. */
  ticket: string;
  copiesDisks: boolean;
  /** What the steps gave for one another. */
  description: string;
  cookie: string;
  destination: string;
  finishCookie: string;
  /** Whether anything was asked of the agents that has to be undone. */
  begun: boolean;
  /** Whether the target was ever asked to run it. */
  finishAsked: boolean;
  /** While UNDOING. */
  failure: MigrationFailure | null;
};

/** What a task of this kind was asked for. */
export type MigrationTaskInput = {
  instanceId: string;
  sourceNodeId: string;
  targetNodeId: string;
  /** 0: the agent's default. */
  maxDowntimeMs: number;
  /** 0: no limit. */
  bandwidthBytesPerSecond: number;
};

/** What a face hands over; values are not checked. */
export interface RawMigration {
  instanceId: string;
  targetNodeId?: string | null;
  maxDowntimeMs?: number | null;
  bandwidthBytesPerSecond?: number | null;
  clientRequestId?: string | null;
}

export interface Migration {
  instanceId: string;
  /** Null: the best that passes all checks. */
  targetNodeId: string | null;
  maxDowntimeMs: number;
  bandwidthBytesPerSecond: number;
  clientRequestId: string | null;
}
