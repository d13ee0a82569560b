import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { ConsoleEnd } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import { Backoff, pause } from "../control-plane/backoff.ts";
import type { InstanceTerminal, OpenTerminalOptions, TerminalSize } from "../drivers/console-driver.ts";
import { waitAtMost } from "../libvirt/wait.ts";

/** Why a console is over, and what people are told of it. */
export interface Ending {
  end: ConsoleEnd;
  message: string;
}

/** Opens a terminal (again), at its size now. */
export type OpenTerminal = (size: TerminalSize, signal: AbortSignal, options: OpenTerminalOptions) => Promise<InstanceTerminal>;

export interface CarriedTerminalOptions {
  /** What was opened first. */
  terminal: InstanceTerminal;
  size: TerminalSize;
  /** Null: what has ended is over. */
  reopen: OpenTerminal | null;
  /** How long it may be away. */
  awayMs: number;
  log: Logger;
}

const OPEN_MS = 15_000;
const RESIZE_MS = 10_000;
const PAUSES = { firstMs: 50, longestMs: 2000 };
/** One that ended before it had lived so long is not opened again at once. */
const LIVED_MS = 5000;
/** An instance that is on its way out is refused for all kinds of reasons, until it is said to be down. */
const REFUSED_MS = 3000;
/** What it takes to say that the instance does not run. */
const DOWN: ReadonlySet<string> = new Set(["InstanceNotRunning", "InstanceMissing"]);
/** What passes: the software is away, or another program holds the console. */
const PASSING: ReadonlySet<string> = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED", "DRAINING"]);

/**
 * The terminal of one run of an instance, whatever becomes of what carries it: where the carrier ends and the run goes on (libvirt's daemon or
 * the container engine was restarted, another program took the console for a while), it is opened again. What was put out meanwhile is lost.
 */
export class CarriedTerminal {
  readonly kind: InstanceTerminal["kind"];
  readonly resizable: boolean;
  readonly takesInput: boolean;
  readonly mayWait: boolean;
  readonly #options: CarriedTerminalOptions;
  readonly #run: string;
  readonly #closing = new AbortController();
  readonly #backoff = new Backoff(PAUSES);
  #size: TerminalSize;
  #terminal: InstanceTerminal | null;
  /** Of the next one that is opened. */
  #back = Promise.withResolvers<InstanceTerminal>();
  #pausing: AbortController | null = null;
  #force = false;

  constructor(options: CarriedTerminalOptions) {
    const { terminal } = options;
    this.#options = options;
    this.#size = options.size;
    this.#terminal = terminal;
    this.#run = terminal.run;
    this.kind = terminal.kind;
    this.resizable = terminal.resizable;
    this.#back.promise.catch(() => undefined);
    this.takesInput = terminal.takesInput;
    this.mayWait = terminal.mayWait;
  }

  /** Hands over what is put out, until it is over. Called once; never throws, but for what `take` throws. */
  async carry(take: (data: Uint8Array) => Promise<void> | void): Promise<Ending> {
    for (;;) {
      const terminal = this.#terminal;
      const ending = terminal === null ? CLOSED : ((await this.#drain(terminal, take)) ?? (await this.#openAgain(this.#options.reopen)));
      if (ending === null) continue;
      this.#back.reject(new FleetError("FAILED_PRECONDITION", ending.message, { reason: "ConsoleEnded" }));
      return ending;
    }
  }

  /** Resolves when it can be typed. UNAVAILABLE ConsoleAway when that lasts. */
  async ready(ms: number, signal: AbortSignal): Promise<InstanceTerminal> {
    return this.#current ?? (await waitAtMost(this.#back.promise, ms, signal, away));
  }

  /** The size that it has from now on, also when it is opened again. */
  async resize(size: TerminalSize): Promise<void> {
    this.#size = size;
    const late = () => new FleetError("UNAVAILABLE", "The size of the terminal was not taken in time.", { reason: "ConsoleAway" });
    const terminal = this.#current;
    if (terminal !== null) await waitAtMost(terminal.resize(size), RESIZE_MS, this.#closing.signal, late);
  }

  /** Takes it from the program that holds it, where it is away for that. */
  insist(): void {
    this.#force = this.#current === null;
    this.#pausing?.abort();
  }

  /** Ends `carry`. Resolves when nothing of it is open. */
  async close(): Promise<void> {
    this.#closing.abort(new FleetError("CANCELLED", "The console was closed."));
    await this.#terminal?.[Symbol.asyncDispose]();
  }

  /** Null: it is away. */
  get #current(): InstanceTerminal | null {
    return this.#terminal?.over === false ? this.#terminal : null;
  }

  /** Null: its carrier ended, and the instance may go on. */
  async #drain(terminal: InstanceTerminal, take: (data: Uint8Array) => Promise<void> | void): Promise<Ending | null> {
    const openedAt = performance.now();
    let failure: FleetError | null = null;
    try {
      for await (const data of terminal) {
        const taken = take(data);
        if (taken !== undefined) await taken;
      }
    } catch (error) {
      failure = FleetError.from(error);
    }
    this.#terminal = null;
    await terminal[Symbol.asyncDispose]();
    if (this.#closing.signal.aborted) return CLOSED;
    if (terminal.migrated) return { end: ConsoleEnd.MIGRATED, message: "The instance moved to another host: open its console again." };
    if (performance.now() - openedAt > LIVED_MS) this.#backoff.reset();
    this.#options.log.debug({ err: failure?.cause ?? failure }, "the carrier of a console ended");
    return this.#options.reopen === null && failure !== null ? lost(failure) : null;
  }

  /** Null: it is open again. */
  async #openAgain(reopen: OpenTerminal | null): Promise<Ending | null> {
    if (reopen === null) return STOPPED;
    const { awayMs, log } = this.#options;
    const awaySince = performance.now();
    for (;;) {
      this.#pausing = new AbortController();
      await pause(this.#backoff.next(), AbortSignal.any([this.#closing.signal, this.#pausing.signal]));
      if (this.#closing.signal.aborted) return CLOSED;
      try {
        return await this.#open(reopen);
      } catch (thrown) {
        const error = FleetError.from(thrown);
        if (this.#closing.signal.aborted) return CLOSED;
        if (error.code === "NOT_FOUND" || DOWN.has(error.reason ?? "")) return STOPPED;
        const passes = PASSING.has(error.code) || error.reason === "ConsoleBusy";
        if (performance.now() - awaySince > (passes ? awayMs : Math.min(awayMs, REFUSED_MS))) return lost(error);
        log.debug({ err: error }, "a console is not back yet");
      }
    }
  }

  async #open(reopen: OpenTerminal): Promise<Ending | null> {
    const { log } = this.#options;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(OPEN_MS)]);
    const size = this.#size;
    const terminal = await reopen(size, signal, { force: this.#force });
    if (terminal.run !== this.#run || this.#closing.signal.aborted) {
      await terminal[Symbol.asyncDispose]();
      return this.#closing.signal.aborted ? CLOSED : RESTARTED;
    }
    log.info("a console is carried again");
    this.#terminal = terminal;
    this.#force = false;
    this.#back.resolve(terminal);
    this.#back = Promise.withResolvers();
    this.#back.promise.catch(() => undefined);
    // It may have changed meanwhile.
    if (size !== this.#size) await terminal.resize(this.#size).catch((error: unknown) => log.debug({ err: error }, "a size was not taken"));
    return null;
  }
}

const CLOSED: Ending = { end: ConsoleEnd.CLOSED, message: "The console was closed." };
const STOPPED: Ending = { end: ConsoleEnd.STOPPED, message: "What ran in the console has ended." };
const RESTARTED: Ending = { end: ConsoleEnd.STOPPED, message: "The instance was restarted: open its console again." };

function lost(error: FleetError): Ending {
  return { end: ConsoleEnd.LOST, message: error.message };
}

function away(): FleetError {
  return new FleetError("UNAVAILABLE", "The console is away: what carries it is being restarted, or another program holds it. Try again.", {
    reason: "ConsoleAway",
  });
}
