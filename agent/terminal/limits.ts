const KIB = 1024;
const MIB = 1024 * KIB;

/** What consoles may take of an agent, and how long things last. */
export interface ConsoleLimits {
  /** Sessions of one node, shells included. */
  sessions: number;
  shells: number;
  /** Of one session. */
  viewers: number;
  /** What is kept of a session's output; memory is taken as it comes. */
  scrollbackBytes: number;
  frameBytes: number;
  /** After a frame, what comes within this time is put into the next one. */
  batchMs: number;
  /**
   * A terminal that may wait is held back for a viewer that would lose bytes: for so long in all until that viewer has caught up, and not any
   * more when it has taken nothing for `stallMs`.
   */
  patienceMs: number;
  stallMs: number;
  /** Input that waits to be typed. */
  inputBytes: number;
  /** How long a caller waits until its input is typed; for a console that is away, less. */
  inputMs: number;
  readyMs: number;
  /** A session that nobody watches ends after this. */
  idleMs: number;
  /** A session that has ended is known for this long. */
  rememberMs: number;
  /** How long what carries a console may be away while its instance goes on. */
  awayMs: number;
}

export const CONSOLE_LIMITS: ConsoleLimits = {
  sessions: 64,
  shells: 8,
  viewers: 32,
  scrollbackBytes: 4 * MIB,
  frameBytes: 64 * KIB,
  batchMs: 5,
  patienceMs: 10_000,
  stallMs: 1000,
  inputBytes: 256 * KIB,
  inputMs: 10_000,
  readyMs: 3000,
  idleMs: 600_000,
  rememberMs: 60_000,
  awayMs: 600_000,
};
