import type { TaskHandler, TaskRun } from "../tasks/task-types.ts";
import { MigrationRun, type MigrationRunParts } from "./migration-run.ts";
import type { MigrationCheckpoint } from "./migration-types.ts";

const CONCURRENT = 16;
const DEADLINE_MS = 24 * 3_600_000;

/** Tasks that move an instance from one node to another while it runs. */
export class MigrationHandler implements TaskHandler<MigrationCheckpoint> {
  readonly kind = "MIGRATION";
  readonly concurrent = CONCURRENT;
  readonly deadlineMs = DEADLINE_MS;
  /** Neither agent may be left in the middle. */
  readonly mustUndo = true;
  readonly #parts: MigrationRunParts;

  constructor(parts: MigrationRunParts) {
    this.#parts = parts;
  }

  /** The target was asked to bring it on: from then on only what the two hosts have decides. */
  isDecided({ finishAsked }: MigrationCheckpoint): boolean {
    return finishAsked;
  }

  run(run: TaskRun<MigrationCheckpoint>): Promise<void> {
    return new MigrationRun(this.#parts, run).toItsEnd();
  }
}
