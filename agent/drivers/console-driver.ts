import type { Ref } from "./instance-driver.ts";

export interface TerminalSize {
  columns: number;
  rows: number;
}

/**
 * The terminal of a running instance: what it puts out as an async iterable (bytes, as they come; it ends when the instance stops, and throws
 * a FleetError where the carrier fails). Holding back the reader must not stall the guest beyond the carrier's own buffers.
 */
export interface InstanceTerminal extends AsyncIterable<Uint8Array>, AsyncDisposable {
  readonly kind: "SERIAL" | "TTY" | "SHELL";
  /** Whether `resize` reaches the program inside. */
  readonly resizable: boolean;
  /** Resolves when more may be written. */
  write(data: Uint8Array): Promise<void>;
  resize(size: TerminalSize): Promise<void>;
}

/** The consoles of a driver's instances. */
export interface ConsoleDriver {
  /** FAILED_PRECONDITION InstanceNotRunning, NoConsole (it has none, or another program holds it). UNAVAILABLE where the software is away. */
  openTerminal(ref: Ref, size: TerminalSize, signal: AbortSignal): Promise<InstanceTerminal>;
}
