import type { RequestContext } from "../../../../platform/request-context.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { InstanceTransaction } from "../instance-writer.ts";

export const TASK_KINDS = [
  "IMAGE_PULL",
  "MIGRATION",
  "SNAPSHOT_CREATE",
  "SNAPSHOT_REVERT",
  "SNAPSHOT_DELETE",
  "VOLUME_ATTACH",
  "VOLUME_DETACH",
  "INTERFACE_ATTACH",
  "INTERFACE_DETACH",
] as const;
/** Work that takes long. */
export type TaskKind = (typeof TASK_KINDS)[number];

export const TASK_STATES = ["QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"] as const;
export type TaskState = (typeof TASK_STATES)[number];

/** The stream of the event log that task events are in; its objects are TaskViews. */
export const TASK_STREAM = "tasks";

/** As both faces show it. */
export type TaskView = {
  id: string;
  kind: TaskKind;
  state: TaskState;
  /** What it is doing, in one word: "downloading", "memory", …; "waiting" between two tries. */
  status: string | null;
  /** Bytes; null where it cannot be told. */
  currentBytes: number | null;
  totalBytes: number | null;
  /** Of a failure: its code, its reason, and for people. While it is RUNNING: why the last try failed; it is tried again. */
  errorCode: string | null;
  errorReason: string | null;
  errorMessage: string | null;
  instanceId: string | null;
  /** Where it works; the destination of a migration. */
  nodeId: string | null;
  /** Tasks that were asked for together: the pull of an image on several nodes. */
  groupId: string | null;
  /** What was asked for, without secrets. */
  input: JsonObject;
  cancelRequested: boolean;
  createdBy: string;
  /** ISO 8601. */
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
};

export interface NewTask {
  kind: TaskKind;
  input: JsonObject;
  instanceId?: string;
  nodeId?: string;
  groupId?: string;
  clientRequestId?: string;
  /** An instance has one such task at a time: a second is refused with CONFLICT, reason TaskUnderWay. True where there is an instance. */
  exclusive?: boolean;
  createdBy: string;
}

export interface TaskProgress {
  status?: string;
  currentBytes?: number | null;
  totalBytes?: number | null;
}

/** One run of a task, by whichever replica holds it. After a crash it runs again, with the checkpoint that was saved last. */
export interface TaskRun<Checkpoint extends JsonObject = JsonObject> {
  readonly task: TaskView;
  /** Null in the first run. */
  readonly checkpoint: Checkpoint | null;
  /** The control plane's own, with this run's signal. */
  readonly ctx: RequestContext;
  /** The same for what has to be undone: its signal goes on when the task is cancelled or its deadline passes. */
  readonly undoCtx: RequestContext;
  /**
   * Aborts when somebody cancels the task (`cancelled` is true then) or its deadline passes, also before this run began; when this replica
   * stops, or when it lost its hold on the task: in the last two cases another run goes on, and the signal of `undoCtx` aborts, too.
   */
  readonly signal: AbortSignal;
  readonly cancelled: boolean;
  /**
   * Stored before it resolves: what follows may rely on it after a crash. Throws CANCELLED (reason TaskClaimLost) where another run goes on,
   * and what Store.transaction throws; so does `succeed`.
   */
  save(checkpoint: Checkpoint, progress?: TaskProgress): Promise<void>;
  /** Shown soon, at most once a second; not stored before it returns. */
  tell(progress: TaskProgress): void;
  /** Changes instances and ends the task as SUCCEEDED, in one transaction. `run` returns afterwards. */
  succeed(change?: (instances: InstanceTransaction) => Promise<void>): Promise<void>;
}

/** What a kind of task does. */
export interface TaskHandler<Checkpoint extends JsonObject = JsonObject> {
  readonly kind: TaskKind;
  /** At once, of this kind, in one process. */
  readonly concurrent: number;
  /** The task fails this long after its first run began, however often it runs. */
  readonly deadlineMs: number;
  /** True: what it began may not be left half done. Beyond its deadline it still runs again, its signal aborted from the start, while its undoing is UNAVAILABLE. */
  readonly mustUndo?: boolean;
  /** Whether it has gone so far that it is completed whoever cancels it; then nobody may. False where left out. */
  isDecided?(checkpoint: Checkpoint): boolean;
  /**
   * Idempotent. Returning is success. Throwing UNAVAILABLE or DEADLINE_EXCEEDED runs it again later, with growing pauses; any other error
   * ends it as FAILED, or as CANCELLED where `cancelled`: what it undoes, it undoes before it throws. One that was cancelled before its
   * first run never runs.
   */
  run(run: TaskRun<Checkpoint>): Promise<void>;
}
