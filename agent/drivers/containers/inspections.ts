import { type ContainerFacts, containerFacts, listedFacts } from "./container-facts.ts";
import type { ContainerEngine } from "./engine.ts";
import { EngineRefusal, orNull } from "./engine-errors.ts";
import type { InspectedContainer, ListedContainer } from "./engine-types.ts";
import { isFrozen } from "./freezer.ts";

/** Inspections at a time. */
const CONCURRENT = 8;
const MAX_CHANGES = 1000;

/**
 * What the engine says about containers: each is asked about once, and again when an event said that it changed. Without events, which
 * `trust` tells, nothing is kept.
 */
export class Inspections {
  readonly #engine: ContainerEngine;
  readonly #known = new Map<string, ContainerFacts>();
  /** Counts changes, so that an answer from before one is not kept after it. */
  readonly #changedAt = new Map<string, number>();
  #clock = 0;
  #trusted = false;

  constructor(engine: ContainerEngine) {
    this.#engine = engine;
  }

  /** True: events tell of every change from now on. */
  trust(trusted: boolean): void {
    this.#trusted = trusted;
    this.#clock += 1;
    this.#known.clear();
    this.#changedAt.clear();
  }

  changed(id: string): void {
    this.#clock += 1;
    this.#known.delete(id);
    this.#changedAt.set(id, this.#clock);
  }

  /** By name or id; null: there is none. */
  async find(nameOrId: string, signal: AbortSignal): Promise<ContainerFacts | null> {
    return this.#known.get(nameOrId) ?? (await this.#inspect(nameOrId, signal));
  }

  /** All that are listed, in the same order; those that are gone meanwhile are left out. */
  async all(listed: readonly ListedContainer[], signal: AbortSignal): Promise<ContainerFacts[]> {
    const found = new Array<ContainerFacts | null>(listed.length).fill(null);
    const entries = listed.entries();
    const work = async () => {
      for (const [index, container] of entries) found[index] = await this.#fresh(container, signal);
    };
    await Promise.all(Array.from({ length: Math.min(CONCURRENT, listed.length) }, work));
    return found.filter((facts) => facts !== null);
  }

  async #fresh(container: ListedContainer, signal: AbortSignal): Promise<ContainerFacts | null> {
    const known = this.#known.get(container.Id);
    if (known !== undefined && known.status === container.State) return known;
    try {
      return await this.#inspect(container.Id, signal);
    } catch (error) {
      // podman, killed while it removed a container, has it in its list and cannot say more.
      if (error instanceof EngineRefusal && container.State === "removing") return listedFacts(container);
      throw error;
    }
  }

  async #inspect(nameOrId: string, signal: AbortSignal): Promise<ContainerFacts | null> {
    const begun = this.#clock;
    const inspected = await orNull(this.#engine.get<InspectedContainer>(`/containers/${encodeURIComponent(nameOrId)}/json`, { signal }));
    if (inspected === null) return null;
    const { Status, Pid } = inspected.State;
    const frozen = Status === "running" || Status === "paused" ? await isFrozen(inspected.Id, Pid) : null;
    const facts = containerFacts(inspected, frozen);
    const isStill = this.#trusted && (this.#changedAt.get(facts.id) ?? 0) <= begun;
    if (isStill) this.#known.set(facts.id, facts);
    return facts;
  }

  /** Forgets those that are gone. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
    // What a call under way saw before a change is over long before there are so many.
    if (this.#changedAt.size > 2 * ids.size + MAX_CHANGES)
      for (const id of this.#changedAt.keys()) if (!ids.has(id)) this.#changedAt.delete(id);
  }
}
