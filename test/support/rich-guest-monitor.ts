import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** One line that QEMU, or its agent in the guest, says. */
interface Answer {
  return?: unknown;
  error?: { class: string; desc: string };
  id?: number;
  event?: string;
  data?: Record<string, unknown>;
}

export interface MonitorEvent {
  event: string;
  data: Record<string, unknown>;
}

const DEADLINE_MS = 60_000;
const KEPT_EVENTS = 1_000;

/** JSON commands over a UNIX socket: QEMU's monitor (QMP), and its agent inside a guest, which speaks the same. */
export class Monitor {
  /** QMP's events so far, the last 1000. */
  readonly events: MonitorEvent[] = [];
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (answer: Answer | Error) => void>();
  #id = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    // A broken connection is told by its close.
    createInterface({ input: socket })
      .on("line", (line) => this.#take(line))
      .on("error", () => {});
    socket.on("error", () => {}).once("close", () => this.#fail(new Error("QEMU closed the connection")));
  }

  /** The socket must be listened on already. */
  static async open(path: string): Promise<Monitor> {
    const socket = connect({ path });
    await once(socket, "connect", { signal: AbortSignal.timeout(DEADLINE_MS) });
    return new Monitor(socket);
  }

  /** What it returns. Throws where it says error, and after `deadlineMs`, by which it has not answered. */
  async execute(command: string, args: Record<string, unknown> = {}, deadlineMs = DEADLINE_MS): Promise<unknown> {
    const id = ++this.#id;
    const answered = Promise.withResolvers<Answer | Error>();
    this.#waiting.set(id, answered.resolve);
    const timer = setTimeout(() => answered.resolve(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
    try {
      if (this.#socket.destroyed) throw new Error(`${command}: the connection to QEMU is closed`);
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
      const answer = await answered.promise;
      if (answer instanceof Error) throw new Error(`${command}: ${answer.message}`);
      if (answer.error !== undefined) throw new Error(`${command}: ${answer.error.desc} (${answer.error.class})`);
      return answer.return;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(line: string): void {
    const answer = JSON.parse(line) as Answer;
    if (answer.event !== undefined) {
      this.events.push({ event: answer.event, data: answer.data ?? {} });
      if (this.events.length > KEPT_EVENTS) this.events.shift();
    } else if (answer.id !== undefined) {
      this.#waiting.get(answer.id)?.(answer);
    }
  }

  #fail(error: Error): void {
    for (const settle of this.#waiting.values()) settle(error);
  }
}
