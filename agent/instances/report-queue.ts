import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { isTransitional } from "./plan-draft.ts";

/** Distinct states of one instance that wait to be told. */
const MAX_STATES = 8;

/** What waits to be told: of each instance the states that it went through, in order. */
export class ReportQueue {
  /** Those that have waited longest come first. */
  readonly #queues = new Map<string, InstanceObservation[]>();

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  /** Replaces the one before it where that is the same state, so that of a state its last description is told. */
  add(observation: InstanceObservation): void {
    const key = keyOf(observation);
    const waiting = this.#queues.get(key) ?? [];
    const last = waiting.at(-1);
    if (last !== undefined && isSameState(last, observation)) waiting.pop();
    waiting.push(observation);
    if (waiting.length > MAX_STATES) {
      const passing = waiting.findIndex(({ state }) => isTransitional(state));
      waiting.splice(Math.max(0, passing === waiting.length - 1 ? 0 : passing), 1);
    }
    this.#queues.set(key, waiting);
  }

  /** The next ones, at most `max`; they are not in the queue any more. */
  take(max: number): InstanceObservation[] {
    const taken: InstanceObservation[] = [];
    for (const [key, waiting] of this.#queues) {
      if (taken.length >= max) break;
      taken.push(...waiting.splice(0, max - taken.length));
      if (waiting.length === 0) this.#queues.delete(key);
    }
    return taken;
  }

  /** All of it is about to be told in another way. */
  clear(): void {
    this.#queues.clear();
  }
}

function keyOf({ instanceId, nativeId }: InstanceObservation): string {
  return instanceId === "" ? `native ${nativeId}` : instanceId;
}

function isSameState(a: InstanceObservation, b: InstanceObservation): boolean {
  return a.state === b.state && a.generation === b.generation && a.revision === b.revision && a.state !== InstanceState.UNSPECIFIED;
}
