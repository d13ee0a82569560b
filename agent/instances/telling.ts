import type { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { type ManagedView, managedObservation } from "./observation.ts";

/** Activity alone is told once in this time. */
const ACTIVITY_MS = 1000;

/** What is told of one instance: what differs from what was told last. */
export class Telling {
  readonly #tellIt: (observation: InstanceObservation) => void;
  #view: ManagedView | null = null;
  #told = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (observation: InstanceObservation) => void) {
    this.#tellIt = tell;
  }

  /** As it was seen last; null before the first look. */
  get view(): ManagedView | null {
    return this.#view;
  }

  tell(view: ManagedView): void {
    this.#view = view;
    const observation = managedObservation(view);
    const text = JSON.stringify(observation);
    if (text === this.#told) return;
    this.#told = text;
    this.#tellIt(observation);
  }

  /** Also what was told before. */
  again(): void {
    this.#told = "";
    if (this.#view !== null) this.tell(this.#view);
  }

  /** What is being done, with the next word about it, or by itself soon. */
  showActivity(activity: string): void {
    if (this.#view === null) return;
    this.#view = { ...this.#view, activity };
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      if (this.#view !== null) this.tell(this.#view);
    }, ACTIVITY_MS);
  }

  activityOver(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Nothing is left to tell of. */
  forget(): void {
    this.#view = null;
    this.#told = "";
  }
}
