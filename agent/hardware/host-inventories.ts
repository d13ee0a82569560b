import type { Logger } from "../../platform/observability/log.ts";
import type { InventoryPart } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { jittered } from "../control-plane/backoff.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { needsOf, type PartReader, type PartReading, type PartSources } from "./parts.ts";
import type { PendingParts } from "./watch/pending-parts.ts";

export interface HostInventoriesOptions {
  host: HostChannel;
  readers: readonly PartReader[];
  pending: PendingParts;
  /** Of one reading. */
  sources: (signal: AbortSignal) => PartSources;
  log: Logger;
}

/**
 * A few readings that events ask for come at once. After more of them in so short a time, each is followed by a rest of so many times as
 * long as it took: a storm of events costs a part of a core.
 */
const BURST = 4;
const BURST_MS = 10_000;
const REST_FACTOR = 4;
const LONGEST_REST_MS = 5000;
/** After a host could not be read at all. */
const FAILED_PAUSE_MS = 15_000;

const NEVER = new AbortController().signal;

interface PartState {
  reader: PartReader;
  reading: PartReading | null;
  /** On the scale of performance.now(). */
  dueAt: number;
}

/** The parts of a host's inventory as they were read last: again when events concern them, and now and then in any case. */
export class HostInventories {
  readonly #options: HostInventoriesOptions;
  readonly #states: Map<InventoryPart, PartState>;
  #restUntil = 0;
  /** When events last asked for readings. */
  #asked: number[] = [];
  #toldWhy = "";

  constructor(options: HostInventoriesOptions) {
    this.#options = options;
    this.#states = new Map(options.readers.map((reader) => [reader.part, { reader, reading: null, dueAt: 0 }]));
  }

  /** Those that were read, in a fixed order. */
  get current(): PartReading[] {
    return [...this.#states.values()].flatMap(({ reading }) => reading ?? []);
  }

  /** When something is to be read, unless `ready` aborts before; on the scale of performance.now(). */
  get nextAt(): number {
    const dueAt = Math.min(...[...this.#states.values()].map((state) => state.dueAt));
    return performance.now() < this.#restUntil ? Math.min(dueAt, this.#restUntil) : dueAt;
  }

  /** Aborts when events ask for a reading. */
  get ready(): AbortSignal {
    return performance.now() < this.#restUntil ? NEVER : this.#options.pending.ready;
  }

  /** Reads what is due. Never throws: a host that cannot be reached keeps what was read before. */
  async readDue(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const asked = now < this.#restUntil ? [] : this.#options.pending.take();
    for (const part of asked) {
      const state = this.#states.get(part);
      if (state !== undefined) state.dueAt = now;
    }
    const due = [...this.#states.values()].filter(({ dueAt }) => dueAt <= now);
    if (due.length === 0) return;
    await this.#read(due, signal);
    if (asked.length === 0) return;
    this.#asked = [...this.#asked.filter((at) => at > now - BURST_MS), now].slice(-BURST - 1);
    if (this.#asked.length <= BURST) return;
    const tookMs = performance.now() - now;
    this.#restUntil = performance.now() + Math.min(LONGEST_REST_MS, REST_FACTOR * tookMs);
  }

  async #read(due: readonly PartState[], signal: AbortSignal): Promise<void> {
    const { host, sources } = this.#options;
    try {
      const known = once(sources(signal));
      // Both are asked at the same time; they never throw.
      if (due.some(({ reader }) => reader.asksUsers)) void known.users();
      const snapshot = await host.snapshot(needsOf(due.map(({ reader }) => reader)));
      for (const state of due) await this.#readOne(state, snapshot, known);
    } catch (error) {
      for (const state of due) this.#failed(state, error);
    }
  }

  /** One that fails does not keep the others from being read. */
  async #readOne(state: PartState, snapshot: HostChannel, sources: PartSources): Promise<void> {
    try {
      state.reading = await state.reader.read(snapshot, sources);
      state.dueAt = performance.now() + jittered(state.reader.everyMs, 0.1);
      this.#toldWhy = "";
    } catch (error) {
      this.#failed(state, error);
    }
  }

  #failed(state: PartState, error: unknown): void {
    state.dueAt = performance.now() + jittered(FAILED_PAUSE_MS, 0.3);
    const message = error instanceof Error ? error.message : String(error);
    if (message === this.#toldWhy) return;
    this.#toldWhy = message;
    const why = error instanceof HostReadError ? { reason: error.reason } : { err: error };
    this.#options.log.warn({ inventory: state.reader.part, ...why }, `the host's inventory cannot be read: ${message}`);
  }
}

/** What is asked for by several parts is asked for once. */
function once({ users, libvirt }: PartSources): PartSources {
  let [askedUsers, askedLibvirt]: [ReturnType<typeof users> | null, ReturnType<typeof libvirt> | null] = [null, null];
  return {
    users: () => (askedUsers ??= users()),
    libvirt: () => (askedLibvirt ??= libvirt()),
  };
}
