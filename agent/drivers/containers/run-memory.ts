import type { ContainerFacts } from "./container-facts.ts";
import type { RunNotes } from "./container-state.ts";
import type { EngineEvent } from "./engine-types.ts";
import { kernelSaysOutOfMemory } from "./kernel-oom.ts";

interface Asked {
  what: "REQUESTED" | "DESTROYED";
  /** Milliseconds since the epoch. */
  at: number;
}

const KILLED = 137;

/** What the agent learns about containers' runs beside what the engine keeps. It is lost with the agent. */
export class RunMemory {
  readonly #asked = new Map<string, Asked>();
  readonly #startErrors = new Map<string, string>();
  readonly #outOfMemory = new Map<string, { startedAt: number; answer: Promise<boolean> }>();

  /** The agent asks it to stop, or kills it. */
  asked(id: string, what: Asked["what"]): void {
    this.#asked.set(id, { what, at: Date.now() });
  }

  started(id: string): void {
    this.#asked.delete(id);
    this.#startErrors.delete(id);
  }

  startFailed(id: string, message: string): void {
    this.#startErrors.set(id, message);
  }

  forget(id: string): void {
    this.#asked.delete(id);
    this.#startErrors.delete(id);
    this.#outOfMemory.delete(id);
  }

  keepOnly(ids: ReadonlySet<string>): void {
    for (const map of [this.#asked, this.#startErrors, this.#outOfMemory]) for (const id of map.keys()) if (!ids.has(id)) this.forget(id);
  }

  /** Somebody else started it. That somebody stopped it, podman tells now and then only. */
  onEvent({ Action, Actor, timeNano }: EngineEvent): void {
    if (Action !== "start") return;
    this.#startErrors.delete(Actor.ID);
    const known = this.#asked.get(Actor.ID);
    if (known !== undefined && known.at < timeNano / 1e6) this.#asked.delete(Actor.ID);
  }

  async notesOn(facts: ContainerFacts): Promise<RunNotes> {
    const startError = this.#startErrors.get(facts.id) ?? null;
    const hasEnded = facts.status === "exited" || facts.status === "stopped";
    if (!hasEnded || facts.startedAt === null || startError !== null) return { asked: null, startError, outOfMemory: false };
    const asked = this.#asked.get(facts.id);
    const wasAsked = asked !== undefined && asked.at >= facts.startedAt.getTime();
    return { asked: wasAsked ? asked.what : null, startError, outOfMemory: await this.#ranOutOfMemory(facts) };
  }

  async #ranOutOfMemory({ id, oomKilled, exitCode, startedAt }: ContainerFacts): Promise<boolean> {
    if (oomKilled) return true;
    if (exitCode !== KILLED || startedAt === null) return false;
    const known = this.#outOfMemory.get(id);
    if (known?.startedAt === startedAt.getTime()) return await known.answer;
    const answer = kernelSaysOutOfMemory(id, startedAt);
    this.#outOfMemory.set(id, { startedAt: startedAt.getTime(), answer });
    return await answer;
  }
}
