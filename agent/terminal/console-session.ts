import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import {
  ConsoleEnd,
  type ConsoleFrame,
  ConsoleKind,
  type ConsoleSession as SessionView,
  type WriteConsoleResponse,
} from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { TerminalSize } from "../drivers/console-driver.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import type { CarriedTerminal, Ending } from "./carried-terminal.ts";
import { HoldingBack } from "./holding-back.ts";
import { InputQueue } from "./input-queue.ts";
import type { ConsoleLimits } from "./limits.ts";
import { Scrollback } from "./scrollback.ts";
import { Viewer, type Watched } from "./viewer.ts";
import { Writers } from "./writers.ts";

export interface SessionOptions {
  id: string;
  nodeId: string;
  /** Empty for a shell. */
  instanceId: string;
  size: TerminalSize;
  openedBy: string;
  terminal: CarriedTerminal;
  limits: ConsoleLimits;
  log: Logger;
  /** Called once, when it is over. */
  onEnded: () => void;
}

/** Who types, and how. */
export interface TypingRequest {
  writerKey: string;
  subject: string;
  /** 0: not counted. */
  sequence: number;
  data: Uint8Array;
  takeOver: boolean;
}

export interface JoinRequest {
  /** Empty: it only reads. */
  writerKey: string;
  subject: string;
  takeOver: boolean;
  /** Null: as it is. Of the writer alone. */
  size: TerminalSize | null;
}

/** One console: what it put out last, those who watch it, and the one who types. */
export class ConsoleSession implements Watched {
  readonly id: string;
  readonly instanceId: string;
  readonly isShell: boolean;
  readonly scrollback: Scrollback;
  readonly #options: SessionOptions;
  readonly #viewers = new Set<Viewer>();
  readonly #writers = new Writers();
  readonly #input: InputQueue;
  readonly #holdingBack: HoldingBack;
  readonly #openedAt = new Date();
  readonly #carrying: Promise<void>;
  #size: TerminalSize;
  #version = 0;
  #ending: Ending | null = null;
  #idle: NodeJS.Timeout | undefined;

  constructor(options: SessionOptions) {
    const { id, instanceId, size, terminal, limits } = options;
    this.#options = options;
    this.id = id;
    this.instanceId = instanceId;
    this.isShell = terminal.kind === "SHELL";
    this.scrollback = new Scrollback(limits.scrollbackBytes);
    this.#input = new InputQueue(limits.inputBytes, limits.inputMs);
    this.#holdingBack = new HoldingBack(this.scrollback, this.#viewers);
    this.#size = size;
    this.#whenIdle();
    this.#carrying = this.#carry();
  }

  get version(): number {
    return this.#version;
  }

  get ending(): Ending | null {
    return this.#ending;
  }

  /** `writerKey`: of the caller, who is told whether it types. */
  view(writerKey: string | null = null): SessionView {
    const { id, nodeId, instanceId, openedBy, terminal } = this.#options;
    const writer = this.#writers.current;
    return {
      id,
      nodeId,
      instanceId,
      kind: ConsoleKind[terminal.kind],
      size: { width: this.#size.columns, height: this.#size.rows },
      resizable: terminal.resizable,
      takesInput: terminal.takesInput,
      openedAt: this.#openedAt,
      openedBy,
      writer: writer?.subject ?? "",
      viewers: this.#viewers.size,
      firstOffset: this.scrollback.first,
      nextOffset: this.scrollback.next,
      nextSequence: writer?.nextSequence ?? 1,
      ended: this.#ending?.end ?? ConsoleEnd.UNSPECIFIED,
      writable: writer !== null && writer.key === writerKey,
    };
  }

  /** The caller types from now on, where nobody does or it takes over. */
  async join({ writerKey, subject, takeOver, size }: JoinRequest): Promise<SessionView> {
    if (writerKey !== "" && this.#claim(writerKey, subject, takeOver)) {
      if (takeOver) this.#options.terminal.insist();
      if (size !== null) await this.resize(writerKey, size);
    }
    return this.view(writerKey);
  }

  /** RESOURCE_EXHAUSTED TooManyViewers. Ends with the session's last frame, or with the signal. */
  async *follow(offset: number, signal: AbortSignal): AsyncGenerator<ConsoleFrame, void, undefined> {
    const { limits } = this.#options;
    if (this.#viewers.size >= limits.viewers) {
      throw new FleetError("RESOURCE_EXHAUSTED", `A console has at most ${limits.viewers} viewers.`, { reason: "TooManyViewers" });
    }
    const viewer = new Viewer(this, offset, limits);
    this.#viewers.add(viewer);
    clearTimeout(this.#idle);
    try {
      yield* viewer.frames(signal);
    } finally {
      this.#viewers.delete(viewer);
      this.onRead();
      this.#whenIdle();
    }
  }

  /**
   * FAILED_PRECONDITION NotTheWriter, InputGap, NoInput, ConsoleEnded; UNAVAILABLE ConsoleAway, when nothing was typed, and InputUncertain, when
   * the console went away meanwhile.
   */
  async type(request: TypingRequest, signal: AbortSignal): Promise<WriteConsoleResponse> {
    this.#throwIfOver();
    const { terminal } = this.#options;
    if (!terminal.takesInput) throw precondition("NoInput", "Nothing can be typed here: the container was made without an input.");
    const { writerKey, subject, takeOver, data } = request;
    if (!this.#claim(writerKey, subject, takeOver)) this.#writers.demand(writerKey);
    if (takeOver) terminal.insist();
    return await this.#input.add(data.length, () => this.#type(request, signal), signal);
  }

  /** FAILED_PRECONDITION NotTheWriter. */
  async resize(writerKey: string, size: TerminalSize): Promise<SessionView> {
    this.#throwIfOver();
    this.#writers.demand(writerKey);
    const isOther = size.columns !== this.#size.columns || size.rows !== this.#size.rows;
    this.#size = size;
    if (isOther) this.#tell();
    await this.#options.terminal.resize(size);
    return this.view(writerKey);
  }

  /** Ends it for all. Resolves when nothing of it is open. */
  async end(ending: Ending): Promise<void> {
    this.#over(ending);
    await this.#options.terminal.close();
    await this.#carrying;
  }

  onRead(): void {
    this.#holdingBack.onRead();
  }

  async #type({ writerKey, sequence, data }: TypingRequest, signal: AbortSignal): Promise<WriteConsoleResponse> {
    const { limits, terminal } = this.#options;
    this.#throwIfOver();
    const writer = this.#writers.demand(writerKey);
    if (sequence !== 0 && sequence < writer.nextSequence) return { nextSequence: writer.nextSequence, repeatedInput: true };
    if (sequence > writer.nextSequence) {
      throw precondition("InputGap", `The input ${writer.nextSequence} is missing before ${sequence}.`, { expected: writer.nextSequence });
    }
    const open = await terminal.ready(limits.readyMs, signal);
    // From here on nobody can tell how much of it was typed: it counts.
    if (sequence !== 0) writer.nextSequence += 1;
    if (data.length > 0) await open.write(data).catch(uncertain);
    return { nextSequence: writer.nextSequence, repeatedInput: false };
  }

  /** False: another one types. */
  #claim(writerKey: string, subject: string, takeOver: boolean): boolean {
    const before = this.#writers.current;
    const claimed = this.#writers.claim(writerKey, subject, takeOver);
    if (claimed === null) return false;
    if (claimed.changed) {
      if (before !== null && before.key !== writerKey)
        this.#options.log.info({ subject, from: before.subject }, "a console was taken over");
      this.#tell();
    }
    return true;
  }

  async #carry(): Promise<void> {
    const { terminal, limits, log } = this.#options;
    const ending = await terminal.carry((data) => (terminal.mayWait ? this.#takeSlowly(data, limits.frameBytes) : this.#take(data)));
    this.#over(ending);
    log.info({ end: this.#ending?.end, message: this.#ending?.message }, "a console is over");
  }

  async #takeSlowly(data: Uint8Array, step: number): Promise<void> {
    for (let at = 0; at < data.length; at += step) {
      const part = data.subarray(at, at + step);
      await this.#holdingBack.room(part.length);
      if (this.#ending !== null) return;
      this.#take(part);
    }
  }

  #take(data: Uint8Array): void {
    if (this.#ending !== null) return;
    this.scrollback.append(data);
    for (const viewer of this.#viewers) viewer.wake();
  }

  #over(ending: Ending): void {
    if (this.#ending !== null) return;
    this.#ending = ending;
    clearTimeout(this.#idle);
    this.#tell();
    this.#holdingBack.end();
    this.#options.onEnded();
  }

  #tell(): void {
    this.#version += 1;
    for (const viewer of this.#viewers) viewer.wake();
  }

  #whenIdle(): void {
    if (this.#viewers.size > 0 || this.#ending !== null) return;
    clearTimeout(this.#idle);
    const message = "Nobody watched the console for a while.";
    this.#idle = setTimeout(() => void this.end({ end: ConsoleEnd.IDLE, message }), this.#options.limits.idleMs);
  }

  #throwIfOver(): void {
    if (this.#ending === null) return;
    throw precondition("ConsoleEnded", this.#ending.message, { ended: this.#ending.end.replace("CONSOLE_END_", "") });
  }
}

function uncertain(cause: unknown): never {
  throw new FleetError("UNAVAILABLE", "The console went away while this was typed; nobody knows how much of it was.", {
    reason: "InputUncertain",
    cause,
  });
}
