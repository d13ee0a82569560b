/** What a host has of an instance. */
export interface Side {
  state: SideState;
  /** Of the mark that it carries; 0: none. */
  generation: number;
  /** Whether its agent still has the attempt in hand. */
  attemptKnown: boolean;
}

const SIDE_STATES = ["ABSENT", "INCOMING", "RUNNING", "PAUSED", "STOPPED"] as const;
export type SideState = (typeof SIDE_STATES)[number];

/** An agent's word for a state; null for one that this version does not know. */
export function sideState(word: string): SideState | null {
  return SIDE_STATES.find((state) => state === word) ?? null;
}

/** "gone": its node has left the fleet, and nobody tells. */
export type SeenSide = Side | "gone";

export interface Evidence {
  target: SeenSide;
  /** Asked only where it counts. */
  source: () => Promise<SeenSide>;
  /** Of the placement on the target. */
  generation: number;
  /** The target was asked to run it. */
  finishAsked: boolean;
  /** The target said that it cannot. */
  refused: boolean;
  /** The instance is to be deleted: nobody needs a copy that runs. */
  deleting: boolean;
}

/** On with it, ask the target (again) to run it, back to the source, or wait: it cannot be told. */
export type Verdict = "forward" | "finish" | "back" | "wait";

/**
 * What becomes of an attempt of which an answer was lost, or that failed. What the hosts have decides, never a time that has passed:
 * - The target runs it, by its number: forward, whatever this database remembers (it may be a restored backup).
 * - The target has it and does not run it (it crashed there, or was paused): its memory may have gone on there, and its disks with it. Where the
 *   target was asked to run it, or the source has nothing any more, it is the target's; otherwise it never ran there.
 * - The target waits for the guest: it is asked to run it where it was asked before and did not say that it cannot.
 * - The target has nothing: it never ran there, or all that ran there is lost. The source's copy is the last one.
 * - The target has left the fleet: where it was never asked to run it, it never does. Where it was, nobody knows: until the host is back, or the
 *   instance is to be deleted, nothing is done. An instance is not started where another copy might run.
 */
export async function decide({ target, source, generation, finishAsked, refused, deleting }: Evidence): Promise<Verdict> {
  if (target === "gone") return finishAsked && !deleting ? "wait" : "back";
  if (target.state === "INCOMING") return finishAsked && !refused ? "finish" : "back";
  if (target.state === "ABSENT" || target.generation !== generation) return "back";
  if (target.state === "RUNNING" || finishAsked) return "forward";
  const left = await source();
  if (left === "gone") return deleting ? "back" : "wait";
  return left.state === "ABSENT" ? "forward" : "back";
}
