import { randomBytes } from "node:crypto";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { callTarget } from "../../../kit/agents/node-record.ts";
import type { TaskRun } from "../tasks/task-types.ts";
import type { FormerPlacements } from "./former-placements.ts";
import { endOf, failureOf, isPassing, nodeGone, notPossible, Undone } from "./migration-failures.ts";
import { MigrationHosts, type MigrationHostsParts } from "./migration-hosts.ts";
import { CopyWatch } from "./migration-progress.ts";
import type { MigrationCheckpoint, MigrationTaskInput } from "./migration-types.ts";
import { abandonMove, beginMove, commitMove, moveOf } from "./moves.ts";
import type { MigrationPreflights } from "./preflights.ts";

export interface MigrationRunParts extends MigrationHostsParts {
  preflights: Pick<MigrationPreflights, "beforeMove">;
  former: Pick<FormerPlacements, "removeNow">;
}

/** A guest that changes its memory faster than it is copied is slowed down, and then may stand still for as long as it takes. */
const AUTO_CONVERGE_SECONDS = 30;
const SILENCE_MS = 300_000;
const SHOW_MS = 1_000;
/** How long the end of the task waits for the source's leftovers; they go later, too. */
const REMOVE_WITHIN_MS = 15_000;

/**
 * One run of a migration's task, from whichever step is stored to its end. Every step can be repeated: the agents answer a repeated one as the
 * first, and the database knows by the move's row whether it was begun, committed or given up. Until the target is asked to run the guest, a
 * failure, a cancellation or a deletion leads back to the source; from then on only what the two hosts have decides (migration-decision.ts). An
 * agent that cannot be asked is waited for: the run ends as UNAVAILABLE, and the task runs again.
 */
export class MigrationRun {
  readonly #parts: MigrationRunParts;
  readonly #run: TaskRun<MigrationCheckpoint>;
  readonly #hosts: MigrationHosts;
  /** Whether the step that is stored was, perhaps, taken by an earlier run. */
  #isResumed: boolean;

  constructor(parts: MigrationRunParts, run: TaskRun<MigrationCheckpoint>) {
    this.#parts = parts;
    this.#run = run;
    this.#hosts = new MigrationHosts(parts, run.task.id, run.undoCtx);
    this.#isResumed = run.checkpoint !== null;
  }

  /** Throws UNAVAILABLE where it is to run again, anything else once nothing is left to be done. */
  async toItsEnd(): Promise<void> {
    try {
      let state = await this.#open();
      while (state.step !== "COMMITTED") {
        state = await this.#advance(state);
        this.#isResumed = false;
      }
      await this.#end(state);
    } catch (error) {
      if (error instanceof Undone) throw error.failure;
      if (this.#run.undoCtx.signal.aborted || isPassing(error)) throw error;
      // A bug, or a database that refuses: neither host is left half done.
      this.#run.ctx.log.error({ err: error }, "a step of a migration failed; it is tried again");
      throw new FleetError("UNAVAILABLE", FleetError.from(error).message, { reason: "MigrationStuck", cause: error });
    }
  }

  /** Where the last run left it; a first one takes the target's share. */
  async #open(): Promise<MigrationCheckpoint> {
    const { checkpoint } = this.#run;
    if (checkpoint === null) return await this.#reserve();
    if (checkpoint.step === "COMMITTED") return checkpoint;
    const move = await this.#parts.writer.store.read((em) => moveOf(em, this.#hosts.ids(checkpoint)));
    if (move !== null) return checkpoint;
    // The move has ended, and then the run: it was given up, or it was committed.
    if (checkpoint.step === "UNDOING" && checkpoint.failure !== null) throw new Undone(endOf(checkpoint.failure));
    return { ...checkpoint, step: "COMMITTED" };
  }

  async #reserve(): Promise<MigrationCheckpoint> {
    const { id: taskId, input } = this.#run.task;
    const { instanceId, sourceNodeId, targetNodeId } = input as MigrationTaskInput;
    const { move, sourceGeneration } = await this.#begin({ instanceId, taskId, sourceNodeId, targetNodeId });
    const state: MigrationCheckpoint = {
      ...{ step: "RESERVED", instanceId, sourceNodeId, sourceGeneration, targetNodeId, generation: move.generation },
      ticket: randomBytes(32).toString("base64url"),
      ...{ copiesDisks: false, description: "", cookie: "", destination: "", finishCookie: "" },
      ...{ begun: false, finishAsked: false, failure: null },
    };
    return this.#go(state, "preparing");
  }

  async #begin(plan: { instanceId: string; taskId: string; sourceNodeId: string; targetNodeId: string }) {
    const { fleet, writer } = this.#parts;
    try {
      const { allocatable } = fleet.get(plan.targetNodeId) ?? { allocatable: NOTHING };
      return await writer.transaction((instances) => beginMove(instances, { ...plan, allocatable }));
    } catch (error) {
      // A refusal comes before anything was taken.
      const isRefusal = error instanceof FleetError && !isPassing(error) && error.code !== "INTERNAL" && error.reason !== "WriteConflict";
      throw isRefusal ? new Undone(error) : error;
    }
  }

  #advance(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    switch (state.step) {
      case "RESERVED":
        return this.#orGiveUp(state, () => this.#check(state));
      case "PREPARING":
        return this.#orGiveUp(state, () => this.#prepare(state));
      case "PERFORMING":
        return this.#orGiveUp(state, () => this.#perform(state));
      case "FINISHING":
        return this.#finish(state);
      default:
        return this.#undo(state);
    }
  }

  /** A step that may be broken off: whatever keeps it from its end leads back to the source. */
  async #orGiveUp(state: MigrationCheckpoint, step: () => Promise<MigrationCheckpoint>): Promise<MigrationCheckpoint> {
    const { signal, undoCtx } = this.#run;
    try {
      signal.throwIfAborted();
      await this.#show(state, null);
      return await step();
    } catch (error) {
      if (undoCtx.signal.aborted) throw error;
      return await this.#giveUp(state, signal.aborted ? signal.reason : error);
    }
  }

  async #check(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    const { instanceId, targetNodeId } = state;
    const { checks, copiesDisks, description } = await this.#parts.preflights.beforeMove(this.#run.ctx, instanceId, targetNodeId);
    const failed = checks.filter(({ passed }) => !passed);
    if (description === null || failed.length > 0) throw notPossible(failed, targetNodeId);
    return this.#go({ ...state, step: "PREPARING", description, copiesDisks, begun: true }, "preparing");
  }

  async #prepare(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    const { agents } = this.#parts;
    const { sourceNodeId, sourceGeneration, targetNodeId: nodeId, generation, description, copiesDisks, ticket } = state;
    const ids = this.#hosts.attempt(state);
    const begun = await agents.begin(this.#run.ctx, sourceNodeId, ids, sourceGeneration, copiesDisks);
    const request = { ...ids, ...begun, nodeId, generation, description, copiesDisks, ticket };
    const { cookie, destination } = await agents.prepare(this.#run.ctx, request);
    return this.#go({ ...state, step: "PERFORMING", cookie, destination }, "copying");
  }

  async #perform(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    const finishing = { ...state, step: "FINISHING", finishAsked: true } as const;
    // It may have come further than this database remembers.
    if (this.#isResumed && (await this.#hosts.judge(state, false)) === "forward") return this.#go(finishing, "finishing");
    const { targetNodeId, sourceNodeId: nodeId, sourceGeneration: generation, ticket, cookie, destination, copiesDisks } = state;
    const { maxDowntimeMs, bandwidthBytesPerSecond: bandwidthBps } = this.#run.task.input as MigrationTaskInput;
    const record = this.#parts.fleet.get(targetNodeId);
    if (record === undefined) throw nodeGone(targetNodeId);
    const { address: destinationAddress, peerUri: destinationPeer } = callTarget(record);
    const watch = new CopyWatch({
      signal: this.#run.signal,
      tell: (progress) => this.#run.tell(progress),
      show: (part) => this.#show(state, part),
      ...{ silenceMs: SILENCE_MS, showMs: SHOW_MS },
    });
    const target = { destinationNodeId: targetNodeId, destinationAddress, destinationPeer, ticket, cookie, destination };
    const limits = { maxDowntimeMs, bandwidthBps, autoConvergeSeconds: AUTO_CONVERGE_SECONDS };
    const request = { ...this.#hosts.attempt(state), nodeId, generation, copiesDisks, ...target, ...limits };
    const finishCookie = await watch.follow(this.#parts.agents.perform({ ...this.#run.ctx, signal: watch.signal }, request));
    return this.#go({ ...finishing, finishCookie }, "finishing");
  }

  /** Asks the target to run it. Where the answer is no, what the hosts have decides. */
  async #finish(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    const { targetNodeId, generation, finishCookie } = state;
    const { undoCtx } = this.#run;
    let refusal: unknown = new FleetError("CONFLICT", "The target did not start the guest.", { reason: "MigrationFailed" });
    const answer = await this.#parts.agents
      .finish(undoCtx, targetNodeId, this.#hosts.attempt(state), generation, finishCookie)
      .catch((error: unknown) => {
        refusal = error;
        return null;
      });
    if (answer?.running) return this.#commit(state, answer);
    if (answer === null && isPassing(refusal)) throw await this.#hosts.wait(state, targetNodeId, refusal);
    const verdict = await this.#hosts.judge(state, true);
    return verdict === "forward" ? this.#commit(state, NOTHING_SAID) : this.#giveUp(state, refusal);
  }

  /** Ends the attempt at the target, then at the source. */
  async #undo(state: MigrationCheckpoint): Promise<MigrationCheckpoint> {
    const how = { targetUnsure: false, copiesDisks: state.copiesDisks, resume: false };
    if (state.begun) {
      const isLate = (await this.#hosts.judge(state, true)) === "forward" || (await this.#hosts.endAtTarget(state, how));
      if (isLate) return this.#commit(state, NOTHING_SAID);
      await this.#hosts.endAtSource(state, how);
    }
    await this.#parts.writer.transaction((instances) => abandonMove(instances, this.#hosts.ids(state), how));
    throw new Undone(endOf(state.failure));
  }

  async #commit(state: MigrationCheckpoint, { nativeId, cookie }: { nativeId: string; cookie: string }): Promise<MigrationCheckpoint> {
    const arrival = { nativeId, cookie, copiesDisks: state.copiesDisks };
    await this.#parts.writer.transaction((instances) => commitMove(instances, this.#hosts.ids(state), arrival));
    return this.#go({ ...state, step: "COMMITTED" }, "removing");
  }

  async #end({ instanceId, sourceNodeId }: MigrationCheckpoint): Promise<void> {
    const { undoCtx } = this.#run;
    await this.#parts.former.removeNow(undoCtx, instanceId, sourceNodeId, REMOVE_WITHIN_MS);
    await this.#run.succeed();
  }

  #giveUp(state: MigrationCheckpoint, error: unknown): Promise<MigrationCheckpoint> {
    const failure = failureOf(error);
    const { instanceId, step } = state;
    this.#run.ctx.log.info({ instanceId, step, ...failure }, "a migration is undone");
    // An earlier run may have come further than this database remembers (a restored backup): then the hosts say so.
    return this.#go({ ...state, step: "UNDOING", begun: state.begun || this.#isResumed, failure }, "undoing");
  }

  async #go(state: MigrationCheckpoint, status: string): Promise<MigrationCheckpoint> {
    await this.#run.save(state, { status });
    return state;
  }

  /** Throws CANCELLED (reason InstanceDeleted) where the instance is to be deleted: what moves it ends then. */
  async #show(state: MigrationCheckpoint, part: string | null): Promise<void> {
    const activity = `migrating to ${this.#hosts.hostname(state.targetNodeId)}${part === null ? "" : `: ${part}`}`;
    const { deleting } = await this.#hosts.look(state, activity);
    if (deleting) throw new FleetError("CANCELLED", "The instance is being deleted.", { reason: "InstanceDeleted" });
  }
}

/** The target runs it, by its own account, and its answer to that was lost. */
const NOTHING_SAID = { nativeId: "", cookie: "" };
const NOTHING = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };
