import type { ApplyInstanceRequest } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { InstanceStore } from "./instance-store.ts";
import type { Progress } from "./progress.ts";
import type { StoredInstance } from "./record-file.ts";
import { type InstanceRecord, type Known, type Taken, type Tombstone, takeDesired } from "./take-desired.ts";

/** What is known of one instance. Changes come one after the other, each on what the one before it left, and count once they are on disk. */
export class RecordCell {
  readonly instanceId: string;
  readonly #store: Pick<InstanceStore, "put">;
  #known: Known;
  #writing: Promise<unknown> = Promise.resolve();
  #pending = 0;

  constructor(instanceId: string, known: Known, store: Pick<InstanceStore, "put">) {
    this.instanceId = instanceId;
    this.#known = known;
    this.#store = store;
  }

  get record(): InstanceRecord | null {
    return this.#known.kind === "record" ? this.#known.record : null;
  }

  get tombstone(): Tombstone | null {
    return this.#known.kind === "tombstone" ? this.#known.tombstone : null;
  }

  /** Changes are on their way to the disk. */
  get isBusy(): boolean {
    return this.#pending > 0;
  }

  /** Throws what `takeDesired` throws, and where it cannot be kept. */
  take(desired: ApplyInstanceRequest, now: number): Promise<Taken> {
    return this.#change((known) => {
      const taken = takeDesired(known, desired, now);
      return { stored: taken.record === null ? null : { record: taken.record }, answer: taken };
    });
  }

  /** Keeps a plan's progress. False, and nothing is changed, where the record is not `basis` any more. */
  async note(basis: InstanceRecord, progress: Progress): Promise<boolean> {
    if (this.record === basis && JSON.stringify(progress) === JSON.stringify(basis.progress)) return true;
    return this.#change((known) => {
      const isBasis = known.kind === "record" && known.record === basis;
      return { stored: isBasis ? { record: { ...basis, progress } } : null, answer: isBasis };
    });
  }

  /** Notes what became of a step of this placement; of a later one it says nothing. */
  async outcome(generation: number, change: (record: InstanceRecord) => Progress): Promise<void> {
    await this.#change((known) => {
      if (known.kind !== "record" || known.record.desired.generation !== generation) return { stored: null, answer: undefined };
      return { stored: { record: { ...known.record, progress: change(known.record) } }, answer: undefined };
    });
  }

  /** Only its number stays. False where the record is not `basis` any more. */
  async bury(basis: InstanceRecord, deletedAt: number): Promise<boolean> {
    const { instanceId, nodeId, generation, revision } = basis.desired;
    return this.#change((known) => {
      const isBasis = known.kind === "record" && known.record === basis;
      return { stored: isBasis ? { tombstone: { instanceId, nodeId, generation, revision, deletedAt } } : null, answer: isBasis };
    });
  }

  async #change<T>(change: (known: Known) => { stored: StoredInstance | null; answer: T }): Promise<T> {
    this.#pending += 1;
    const changed = this.#writing.then(async () => {
      const { stored, answer } = change(this.#known);
      if (stored !== null) {
        await this.#store.put(this.instanceId, stored);
        this.#known = "record" in stored ? { kind: "record", ...stored } : { kind: "tombstone", ...stored };
      }
      return answer;
    });
    this.#writing = changed.catch(() => undefined);
    try {
      return await changed;
    } finally {
      this.#pending -= 1;
    }
  }
}
