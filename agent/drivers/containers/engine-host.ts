import type { Logger } from "../../../platform/observability/log.ts";
import type { InstanceMark } from "../instance-driver.ts";
import { precondition } from "../shared/refusals.ts";
import { engineText } from "./abilities.ts";
import type { ContainerFacts } from "./container-facts.ts";
import type { ContainerNotes } from "./container-notes.ts";
import type { ContainerEngine, EngineIdentity } from "./engine.ts";
import { attempt, EngineRefusal } from "./engine-errors.ts";
import type { EngineInfo, EngineVersion, ListedContainer } from "./engine-types.ts";
import { Inspections } from "./inspections.ts";
import { RunMemory } from "./run-memory.ts";

/** What an engine says about itself. */
export interface EngineFacts {
  info: EngineInfo;
  isPodman: boolean;
  /** "podman 4.3.1, runc 1.1.5". */
  text: string;
}

const FACTS_HOLD_MS = 600_000;

export type ContainerRef = { instanceId: string } | { nativeId: string };

/** A container engine with all that the agent knows about it: what the parts of the driver share. */
export class EngineHost {
  readonly engine: ContainerEngine;
  readonly notes: ContainerNotes;
  readonly mountRoots: readonly string[];
  readonly log: Logger;
  readonly inspections: Inspections;
  readonly runs = new RunMemory();
  #identity: EngineIdentity | null = null;
  #facts: EngineFacts | null = null;
  #factsAt = Number.NEGATIVE_INFINITY;

  constructor(engine: ContainerEngine, notes: ContainerNotes, mountRoots: readonly string[], log: Logger) {
    this.engine = engine;
    this.notes = notes;
    this.mountRoots = mountRoots;
    this.log = log;
    this.inspections = new Inspections(engine);
  }

  /** The engine was reached, for the first time or again. */
  met(identity: EngineIdentity): void {
    const isOther = this.#identity !== null && this.#identity.server !== identity.server;
    this.#identity = identity;
    // It may have been started with other settings; to ask at each of many starts would cost more than it tells.
    if (isOther || performance.now() - this.#factsAt > FACTS_HOLD_MS) this.#facts = null;
  }

  async isPodman(signal: AbortSignal): Promise<boolean> {
    this.#identity ??= await attempt("say who it is", () => this.engine.hello({ signal }));
    return this.#identity.isPodman;
  }

  async facts(signal: AbortSignal): Promise<EngineFacts> {
    if (this.#facts !== null) return this.#facts;
    const isPodman = await this.isPodman(signal);
    const [version, info] = await attempt("describe itself", () =>
      Promise.all([this.engine.get<EngineVersion>("/version", { signal }), this.engine.get<EngineInfo>("/info", { signal })]),
    );
    this.#facts = { info, isPodman, text: engineText(isPodman, version, info) };
    this.#factsAt = performance.now();
    return this.#facts;
  }

  /** All of its containers, running or not. */
  async listed(signal: AbortSignal, timeoutMs?: number): Promise<ListedContainer[]> {
    const options = { signal, query: { all: true }, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    const isPodman = await this.isPodman(signal);
    return await attempt("list its containers", () =>
      // podman's answer in Docker's form fails as a whole while one container is half removed.
      isPodman ? this.engine.podman("GET", "/containers/json", options) : this.engine.get("/containers/json", options),
    );
  }

  /**
   * The agent's mark: noted here for one that was adopted, else on it. A mark counts only under the instance's name, because images that are
   * made from a container carry its labels to others.
   */
  markOf({ id, name, mark }: Pick<ContainerFacts, "id" | "name" | "mark">): InstanceMark | null {
    return this.notes.all.get(id)?.mark ?? (mark?.instanceId === name ? mark : null);
  }

  async find(ref: ContainerRef, signal: AbortSignal): Promise<ContainerFacts | null> {
    if ("nativeId" in ref) return await this.#named(ref.nativeId, signal);
    for (const [id, { mark }] of this.notes.all) {
      if (mark?.instanceId !== ref.instanceId) continue;
      // As for those that are found by their names: asked anew, because an event may be on its way.
      this.inspections.changed(id);
      const adopted = await this.#named(id, signal);
      if (adopted !== null) return adopted;
    }
    const named = await this.#named(ref.instanceId, signal);
    return named !== null && this.markOf(named)?.instanceId === ref.instanceId ? named : null;
  }

  /** One that the agent may change. FAILED_PRECONDITION InstanceMissing or InstanceUnmanaged. */
  async own(ref: ContainerRef, signal: AbortSignal): Promise<ContainerFacts> {
    const facts = await this.find(ref, signal);
    if (facts === null) throw precondition("InstanceMissing", "Its container is not on this host: it was removed by other means.");
    if (this.markOf(facts) === null)
      throw precondition("InstanceUnmanaged", `The container ${facts.name} was made by others: adopt it first.`);
    return facts;
  }

  async #named(nameOrId: string, signal: AbortSignal): Promise<ContainerFacts | null> {
    try {
      return await this.inspections.find(nameOrId, signal);
    } catch (error) {
      // One that is half removed cannot be described, but it is listed.
      if (!(error instanceof EngineRefusal)) throw error;
      const listed = (await this.listed(signal)).filter(
        ({ Id, Names }) => Id === nameOrId || Names.some((name) => name.replace(/^\//, "") === nameOrId),
      );
      const [facts] = await attempt("describe a container", () => this.inspections.all(listed, signal));
      return facts ?? null;
    }
  }
}
