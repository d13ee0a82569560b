import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import { ConsoleEnd } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { ConsoleSession } from "./console-session.ts";
import type { ConsoleLimits } from "./limits.ts";

/** Ended sessions that are remembered at once. */
const MAX_ENDED = 64;

/** The sessions of one node: those that go on, and for a while those that have ended. */
export class ConsoleSessions {
  readonly #limits: ConsoleLimits;
  readonly #sessions = new Map<string, ConsoleSession>();
  readonly #forgetting = new Map<string, NodeJS.Timeout>();
  /** By instance. */
  readonly #opening = new Map<string, Promise<ConsoleSession>>();
  /** Places of those that are being opened. */
  #taken = 0;
  #takenShells = 0;
  #isClosed = false;

  constructor(limits: ConsoleLimits) {
    this.#limits = limits;
  }

  /** NOT_FOUND. */
  get(id: string): ConsoleSession {
    const session = this.#sessions.get(id);
    if (session === undefined) throw notFound("ConsoleSession", id);
    return session;
  }

  /** All that go on, or those of one instance. */
  list(instanceId: string): ConsoleSession[] {
    return this.#open().filter((session) => instanceId === "" || session.instanceId === instanceId);
  }

  /** The one that the instance has, or one that is opened. RESOURCE_EXHAUSTED TooManyConsoles. `isNew`: for this caller. */
  async ofInstance(instanceId: string, open: () => Promise<ConsoleSession>): Promise<{ session: ConsoleSession; isNew: boolean }> {
    const [existing] = this.list(instanceId);
    if (existing !== undefined) return { session: existing, isNew: false };
    const underWay = this.#opening.get(instanceId);
    if (underWay !== undefined) return { session: await underWay, isNew: false };
    const opening = this.add(false, open);
    this.#opening.set(instanceId, opening);
    try {
      return { session: await opening, isNew: true };
    } finally {
      this.#opening.delete(instanceId);
    }
  }

  /** RESOURCE_EXHAUSTED TooManyConsoles. */
  async add(isShell: boolean, open: () => Promise<ConsoleSession>): Promise<ConsoleSession> {
    this.#demandPlace(isShell);
    this.#taken += 1;
    if (isShell) this.#takenShells += 1;
    try {
      const session = await open();
      this.#sessions.set(session.id, session);
      if (session.ending !== null) this.ended(session.id);
      if (this.#isClosed) await session.end(STOPPING);
      return session;
    } finally {
      this.#taken -= 1;
      if (isShell) this.#takenShells -= 1;
    }
  }

  /** It is over: it is forgotten in a while. */
  ended(id: string): void {
    if (!this.#sessions.has(id) || this.#forgetting.has(id)) return;
    this.#forgetting.set(
      id,
      setTimeout(() => this.#forget(id), this.#limits.rememberMs),
    );
    for (const oldest of this.#forgetting.keys()) {
      if (this.#forgetting.size <= MAX_ENDED) break;
      this.#forget(oldest);
    }
  }

  /** Ends all. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#open().map((session) => session.end(STOPPING)));
    for (const id of this.#forgetting.keys()) this.#forget(id);
  }

  #open(): ConsoleSession[] {
    return [...this.#sessions.values()].filter(({ ending }) => ending === null);
  }

  #forget(id: string): void {
    clearTimeout(this.#forgetting.get(id));
    this.#forgetting.delete(id);
    this.#sessions.delete(id);
  }

  #demandPlace(isShell: boolean): void {
    if (this.#isClosed) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
    const open = this.#open();
    const shells = open.filter((session) => session.isShell).length + this.#takenShells;
    const { sessions: most, shells: mostShells } = this.#limits;
    if (open.length + this.#taken >= most || (isShell && shells >= mostShells)) {
      const message = `A node has at most ${most} consoles at once, ${mostShells} of them shells: close one.`;
      throw new FleetError("RESOURCE_EXHAUSTED", message, { reason: "TooManyConsoles" });
    }
  }
}

const STOPPING = { end: ConsoleEnd.LOST, message: "The agent is stopping: open the console again in a while." };
