import type { JsonObject } from "../../../kit/store/json.ts";

export const SNAPSHOT_STATES = ["RUNNING", "PAUSED", "STOPPED"] as const;
export type SnapshotState = (typeof SNAPSHOT_STATES)[number];

export const QUIESCE_MODES = ["AUTO", "NEVER", "REQUIRED"] as const;
export type QuiesceMode = (typeof QUIESCE_MODES)[number];

/** A snapshot as its host tells it. */
export interface SnapshotView {
  id: string;
  name: string;
  description: string | null;
  createdAt: Date | null;
  /** What the instance was. */
  state: SnapshotState;
  hasMemory: boolean;
  quiesced: boolean;
  notQuiescedReason: string | null;
  /** Of the one that it was made on top of. */
  parentId: string | null;
  current: boolean;
  managed: boolean;
}

/** What a task of a snapshot keeps: `name` and what follows are for one that is made. */
export interface SnapshotInput extends JsonObject {
  snapshotId: string;
  name: string;
  description: string;
  quiesce: QuiesceMode;
}
