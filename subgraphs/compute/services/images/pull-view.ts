import type { TaskView } from "../tasks/task-types.ts";
import type { ImageType } from "./image-types.ts";

export const PULL_STATUSES = ["WAITING", "DOWNLOADING", "UNPACKING", "CHECKING", "DONE", "FAILED", "CANCELLED"] as const;
export type PullStatus = (typeof PULL_STATUSES)[number];

export interface PullError {
  code: string;
  reason: string | null;
  message: string;
}

/** The pull of an image on one node or on several: what its tasks say together. */
export interface ImagePullView {
  id: string;
  imageRef: string;
  type: ImageType;
  status: PullStatus;
  /** Bytes, of all nodes together. */
  currentBytes: number;
  /** Null where one of the nodes cannot tell. */
  totalBytes: number | null;
  /** Every node has it. */
  completed: boolean;
  /** Once it is over: of the first node that does not have it. */
  error: PullError | null;
  createdAt: string;
  /** One for each node, by the node's id. */
  tasks: TaskView[];
}

/** What a node that has not ended is doing, the first that one of them does is what the pull does. */
const DOING: readonly PullStatus[] = ["DOWNLOADING", "UNPACKING", "CHECKING"];

/** `tasks`: all of the pull, at least one. */
export function pullView(id: string, tasks: readonly TaskView[]): ImagePullView {
  const ordered = [...tasks].sort((one, other) => ((one.nodeId ?? "") < (other.nodeId ?? "") ? -1 : 1));
  const [first] = ordered as [TaskView];
  const status = statusOf(ordered);
  const failed = ordered.find(({ state }) => state === "FAILED");
  return {
    id,
    imageRef: String(first.input["imageRef"]),
    type: first.input["type"] === "CONTAINER" ? "CONTAINER" : "VM",
    status,
    currentBytes: ordered.reduce((sum, { currentBytes }) => sum + (currentBytes ?? 0), 0),
    totalBytes: ordered.every(({ totalBytes }) => totalBytes !== null)
      ? ordered.reduce((sum, { totalBytes }) => sum + (totalBytes ?? 0), 0)
      : null,
    completed: status === "DONE",
    error: status === "FAILED" && failed ? errorOf(failed) : null,
    createdAt: first.createdAt,
    tasks: ordered,
  };
}

/** Nothing of it changes any more. */
export function isOver({ status }: Pick<ImagePullView, "status">): boolean {
  return status === "DONE" || status === "FAILED" || status === "CANCELLED";
}

function statusOf(tasks: readonly TaskView[]): PullStatus {
  const open = tasks.filter(({ finishedAt }) => finishedAt === null);
  if (open.length > 0) {
    const doing = new Set(open.map(({ status }) => status?.toUpperCase()));
    return DOING.find((status) => doing.has(status)) ?? "WAITING";
  }
  if (tasks.some(({ state }) => state === "FAILED")) return "FAILED";
  return tasks.some(({ state }) => state === "CANCELLED") ? "CANCELLED" : "DONE";
}

function errorOf({ errorCode, errorReason, errorMessage }: TaskView): PullError {
  return { code: errorCode ?? "INTERNAL", reason: errorReason, message: errorMessage ?? "" };
}
