import type { Ref } from "./instance-plan.ts";

export interface TerminalSize {
  columns: number;
  rows: number;
}

/**
 * The terminal of something that runs: what it puts out as an async iterable (bytes, as they come). It ends when the instance stops, and also
 * where its carrier ended without a word (it may be opened again then); it throws a FleetError where the carrier failed. Iterated once.
 * Disposing of it resolves when it can be opened again.
 */
export interface InstanceTerminal extends AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly kind: "SERIAL" | "TTY" | "SHELL";
  /** Whether `resize` reaches the program inside. */
  readonly resizable: boolean;
  /** False: nobody reads what is typed. */
  readonly takesInput: boolean;
  /** Whether what puts out may be held back by not reading. A guest must not be: its carrier ends instead. */
  readonly mayWait: boolean;
  /** Tells one run of the instance from the next: two terminals of one run have the same. */
  readonly run: string;
  /** Its carrier has ended, though output may still be read: nothing more can be written. */
  readonly over: boolean;
  /** Known when the output has ended: the instance goes on on another host. */
  readonly migrated: boolean;
  /** Resolves when more may be written. FAILED_PRECONDITION NoInput where it takes none. */
  write(data: Uint8Array): Promise<void>;
  /** Does nothing where it is not `resizable`. */
  resize(size: TerminalSize): Promise<void>;
}

export interface OpenTerminalOptions {
  /** Takes it from another program that holds it. */
  force: boolean;
}

/** The consoles of a driver's instances. */
export interface ConsoleDriver {
  /**
   * FAILED_PRECONDITION InstanceNotRunning, InstanceMissing, NoConsole (it has none), ConsoleBusy (another program holds it). UNAVAILABLE where
   * the software is away.
   */
  openTerminal(ref: Ref, size: TerminalSize, signal: AbortSignal, options?: OpenTerminalOptions): Promise<InstanceTerminal>;
}
