export const CONSOLE_KINDS = ["SERIAL", "TTY", "SHELL"] as const;
export type ConsoleKind = (typeof CONSOLE_KINDS)[number];

export const CONSOLE_ENDS = ["CLOSED", "STOPPED", "MIGRATED", "IDLE", "LOST"] as const;
export type ConsoleEnd = (typeof CONSOLE_ENDS)[number];

export const CONSOLE_ENCODINGS = ["TEXT", "BASE64"] as const;
export type ConsoleEncoding = (typeof CONSOLE_ENCODINGS)[number];

export interface TerminalSize {
  columns: number;
  rows: number;
}

/** A session as its agent tells it. */
export interface ConsoleSessionView extends TerminalSize {
  id: string;
  nodeId: string;
  /** Null for a shell. */
  instanceId: string | null;
  kind: ConsoleKind;
  resizable: boolean;
  takesInput: boolean;
  openedAt: Date | null;
  openedBy: string;
  /** The subject that types; null: nobody. */
  writer: string | null;
  viewers: number;
  firstOffset: number;
  nextOffset: number;
  nextSequence: number;
  /** Null: it goes on. */
  ended: ConsoleEnd | null;
}

export interface OpenedConsole {
  session: ConsoleSessionView;
  /** Whether the caller types. */
  writable: boolean;
}

/** What was put out, or a change of the session; with `session.ended` it is the last. */
export interface ConsoleOutputFrame {
  /** Of the first byte of data. */
  offset: number;
  data: Buffer;
  /** The viewer was too slow: bytes before `offset` are lost to it. */
  skipped: boolean;
  session: ConsoleSessionView | null;
  /** What happened, for people, with an end. */
  message: string | null;
}

/** What both faces were given, unchecked. */
export interface RawOpening {
  columns?: number | null;
  rows?: number | null;
  takeOver?: boolean | null;
  terminalId?: string | null;
  /** Never becomes the writer. */
  readOnly?: boolean | null;
}

export interface RawInput {
  sessionId: string;
  sequence?: number | null;
  data?: Buffer | null;
  takeOver?: boolean | null;
  terminalId?: string | null;
}

export interface RawResize {
  sessionId: string;
  columns: number;
  rows: number;
  terminalId?: string | null;
}
