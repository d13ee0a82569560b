import type { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { InstanceDriver, NativeInstance } from "../drivers/instance-driver.ts";
import { foundObservation, goneObservation } from "./observation.ts";

export interface CensusOptions {
  nodeId: string;
  /** Whether there is a record of an instance, or of its end. A second thing with its mark is a copy that somebody made. */
  isKnown: (instanceId: string) => boolean;
  onObservation: (observation: InstanceObservation) => void;
}

/** More than any host runs; beyond it a host is not looked at any closer. */
const MAX_FOUND = 1500;

interface Entry {
  driver: InstanceDriver;
  observation: InstanceObservation;
  text: string;
}

/**
 * What is on the host and not the agent's: made by others, or the agent's own of which it has lost the record. It is told, and never
 * touched. What bears the mark of another node is another agent's: to this one it is as if others had made it.
 */
export class Census {
  readonly #options: CensusOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: CensusOptions) {
    this.#options = options;
  }

  observations(): InstanceObservation[] {
    return [...this.#entries.values()].map(({ observation }) => observation);
  }

  /** What bears the mark of an instance without a record; null where nothing does. */
  marked(instanceId: string): Pick<InstanceObservation, "generation" | "type"> | null {
    for (const { observation } of this.#entries.values()) if (observation.instanceId === instanceId) return observation;
    return null;
  }

  note(driver: InstanceDriver, native: NativeInstance): void {
    const known = this.#entries.get(native.nativeId);
    if (known === undefined && this.#entries.size >= MAX_FOUND) return;
    const { nodeId, isKnown, onObservation } = this.#options;
    const { mark } = native;
    const observation = foundObservation(native, mark !== null && mark.nodeId === nodeId && !isKnown(mark.instanceId));
    const text = JSON.stringify(observation);
    this.#entries.set(native.nativeId, { driver, observation, text });
    if (known?.text !== text) onObservation(observation);
  }

  /** It is not on the host any more. */
  gone(nativeId: string): void {
    const known = this.#entries.get(nativeId);
    if (known === undefined) return;
    this.#entries.delete(nativeId);
    this.#options.onObservation(goneObservation(known.observation));
  }

  /** It is the agent's now, and told by its worker. */
  release(nativeId: string): void {
    this.#entries.delete(nativeId);
  }

  /** These are all that a driver has; but for `changed`, which have been looked at since. */
  replace(driver: InstanceDriver, natives: readonly NativeInstance[], changed: ReadonlySet<string>): void {
    const there = new Set(natives.map(({ nativeId }) => nativeId));
    for (const [nativeId, entry] of this.#entries) {
      if (entry.driver === driver && !there.has(nativeId) && !changed.has(nativeId)) this.gone(nativeId);
    }
    for (const native of natives) if (!changed.has(native.nativeId)) this.note(driver, native);
  }
}
