import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { DispatchConfig } from "../config.ts";
import type { Instance } from "../entities/instance.ts";

/** How telling one instance's agent ended. */
export type Told =
  /** Done, or nothing more to be done now. */
  | "done"
  /** The agent cannot be reached: nothing else is tried with this node for a while. */
  | "unreachable"
  /** This one did not work; others of the node may. */
  | "failed";

export interface NodeQueueParts {
  config: Pick<DispatchConfig, "perNode" | "firstPauseMs" | "longestPauseMs">;
  /** Whether the node's agent is to be called at all now. */
  isReachable(): boolean;
  load(except: readonly string[], limit: number): Promise<Instance[]>;
  tell(instance: Instance): Promise<Told>;
  onIdle(): void;
  onError(error: FleetError): void;
}

interface Pause {
  until: number;
  ms: number;
}

/** One node's turn: tells a few instances at once, oldest request first, with pauses that grow after failures. Holds only what is under way. */
export class NodeQueue {
  readonly #parts: NodeQueueParts;
  readonly #telling = new Map<string, Promise<void>>();
  /** Instances that failed, and the node itself. */
  readonly #resting = new Map<string, Pause>();
  #nodePause: Pause | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** When it was last looked what may be told. */
  #filledAt = 0;
  #loading: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(parts: NodeQueueParts) {
    this.#parts = parts;
  }

  /** There may be something to tell. `anew`: the agent is back, pauses count no more. */
  wake(anew = false): void {
    if (this.#stopped) return;
    if (anew) {
      this.#nodePause = null;
      this.#resting.clear();
    }
    if (this.#loading !== null) {
      this.#again = true;
      return;
    }
    this.#loading = this.#fill()
      .catch((error: unknown) => {
        this.#parts.onError(FleetError.from(error));
        this.#nodePause = this.#longer(this.#nodePause);
      })
      .finally(() => {
        this.#loading = null;
        if (this.#again) {
          this.#again = false;
          this.wake();
        } else this.#rest();
      });
  }

  /** Resolves when nothing is under way any more; what waits is left to the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#loading;
    await Promise.all(this.#telling.values());
  }

  async #fill(): Promise<void> {
    const now = performance.now();
    this.#filledAt = now;
    if (!this.#parts.isReachable() || (this.#nodePause !== null && this.#nodePause.until > now)) return;
    const free = this.#parts.config.perNode - this.#telling.size;
    if (free <= 0) return;
    const resting = [...this.#resting].filter(([, { until }]) => until > now).map(([id]) => id);
    const instances = await this.#parts.load([...this.#telling.keys(), ...resting], free);
    if (instances.length === 0 && this.#telling.size === 0 && resting.length === 0) this.#nodePause = null;
    for (const instance of instances) if (!this.#stopped && !this.#telling.has(instance.id)) this.#tell(instance);
  }

  #tell(instance: Instance): void {
    const { id } = instance;
    const telling = this.#parts
      .tell(instance)
      .then((told) => this.#ended(id, told))
      .catch((error: unknown) => {
        this.#parts.onError(FleetError.from(error));
        this.#ended(id, "failed");
      })
      .finally(() => {
        this.#telling.delete(id);
        this.wake();
      });
    this.#telling.set(id, telling);
  }

  #ended(id: string, told: Told): void {
    if (told === "done") {
      this.#nodePause = null;
      this.#resting.delete(id);
    } else if (told === "failed") this.#resting.set(id, this.#longer(this.#resting.get(id) ?? null));
    // Several that were under way together have failed once.
    else if (this.#nodePause === null || this.#nodePause.until <= performance.now()) this.#nodePause = this.#longer(this.#nodePause);
  }

  /** Varied by half, so that replicas do not meet again. */
  #longer(before: Pause | null): Pause {
    const { firstPauseMs, longestPauseMs } = this.#parts.config;
    const ms = before === null ? firstPauseMs : Math.min(longestPauseMs, before.ms * 2);
    return { ms, until: performance.now() + ms * (0.5 + Math.random() / 2) };
  }

  /** Sets the clock for what has to be tried again; without that, and with nothing under way, the queue is not needed. */
  #rest(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const now = performance.now();
    for (const [id, { until }] of this.#resting) if (until + this.#parts.config.longestPauseMs * 2 < now) this.#resting.delete(id);
    // A pause that held something back then may be over by now.
    const ends = [...this.#resting.values(), ...(this.#nodePause ? [this.#nodePause] : [])]
      .map(({ until }) => until)
      .filter((until) => until > this.#filledAt);
    if (ends.length > 0) {
      this.#timer = setTimeout(() => this.wake(), Math.max(0, Math.ceil(Math.min(...ends) - now)));
      this.#timer.unref();
    } else if (this.#telling.size === 0 && this.#resting.size === 0 && this.#nodePause === null) this.#parts.onIdle();
  }
}
