import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { redactLine } from "../../../platform/observability/log-redaction.ts";
import { precondition } from "../shared/refusals.ts";

const MAX_MESSAGE = 600;

/** What the engine answered instead of doing it. Its message may name what runs on the host; it holds no passwords. */
export class EngineRefusal extends Error {
  override readonly name = "EngineRefusal";
  /** HTTP's. podman says 500 where Docker has a code of its own. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(shortened(message));
    this.status = status;
  }
}

/** podman answers 404 for what it has not got, and for what it has no call for. */
export function isNotFound(error: unknown): error is EngineRefusal {
  return error instanceof EngineRefusal && error.status === 404;
}

/** Another container has the name, or a half-made one that only the storage knows. */
export function isNameTaken(error: unknown): boolean {
  return error instanceof EngineRefusal && /already in use/i.test(error.message);
}

/** What the engine refused, as an error of ours. `task` goes on behind "The container engine could not". */
export function engineError(error: unknown, task: string): FleetError {
  if (!(error instanceof EngineRefusal)) return FleetError.from(error);
  const message = `The container engine could not ${task}: ${error.message}`;
  if (/no space left|disk quota exceeded/i.test(error.message)) return precondition("NoSpace", message);
  // Its own parts are away, or it is on its way out.
  if (/shutting down|containerd.*(unavailable|connection refused)|database is locked/i.test(error.message)) {
    return new FleetError("UNAVAILABLE", message, { reason: "EngineBusy", cause: error });
  }
  return new FleetError("FAILED_PRECONDITION", message, { reason: "EngineRefused", cause: error });
}

/** Calls the engine; what it refuses is told by what was to be done. */
export async function attempt<T>(task: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw engineError(error, task);
  }
}

/** Null where the engine says that there is none. */
export async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isNotFound(error)) return null;
    throw error;
  }
}

/** One line without passwords; the end of a long one, where engines say what was wrong. */
function shortened(message: string): string {
  const line = redactLine(message).replace(/\s+/g, " ").trim();
  return line.length <= MAX_MESSAGE ? line : `… ${line.slice(-MAX_MESSAGE)}`;
}
