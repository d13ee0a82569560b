import { newConsoleSessionId } from "../../platform/console-session-id.ts";
import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import {
  type CloseConsoleRequest,
  ConsoleEnd,
  type ConsoleFrame,
  ConsoleKind,
  ConsoleSession,
  type FollowConsoleRequest,
  type ListConsolesRequest,
  type OpenConsoleRequest,
  type ResizeConsoleRequest,
  type WriteConsoleRequest,
} from "../../schema/generated/proto/hypervisor/v1/consoles.ts";

/** A session on a host that is a table: all that was put out is kept, and what is typed is put out. */
interface Recorded {
  view: ConsoleSession;
  output: Buffer;
  writerKey: string;
  /** The next sequence number of each who typed. */
  sequences: Map<string, number>;
  message: string;
  changed: PromiseWithResolvers<void>;
}

/** ConsoleAgentService of a recorded agent. */
export class RecordedConsoles {
  readonly opened: OpenConsoleRequest[] = [];
  readonly written: WriteConsoleRequest[] = [];
  readonly sessions = new Map<string, Recorded>();
  /** Answers instead of opening. */
  onOpen: ((request: OpenConsoleRequest) => void) | null = null;

  async openConsole(request: OpenConsoleRequest): Promise<ConsoleSession> {
    this.opened.push(request);
    this.onOpen?.(request);
    const joined = [...this.sessions.values()].find(({ view }) => view.instanceId !== "" && view.instanceId === request.instanceId);
    const session = joined ?? this.#make(request);
    if (request.writerKey !== "" && (session.writerKey === "" || request.takeOver)) this.#claim(session, request);
    return { ...session.view, writable: session.writerKey !== "" && session.writerKey === request.writerKey };
  }

  async listConsoles({ instanceId }: ListConsolesRequest): Promise<{ sessions: ConsoleSession[] }> {
    const views = [...this.sessions.values()].map(({ view }) => view);
    return {
      sessions: views.filter((view) => view.ended === ConsoleEnd.UNSPECIFIED && (instanceId === "" || view.instanceId === instanceId)),
    };
  }

  async *followConsole({ sessionId, offset }: FollowConsoleRequest): AsyncGenerator<ConsoleFrame, void, undefined> {
    const session = this.#get(sessionId);
    let at = Math.max(0, offset);
    let told: ConsoleSession | null = null;
    for (;;) {
      const { changed } = session;
      const data = session.output.subarray(at, at + 64 * 1024);
      const news: ConsoleSession | undefined = session.view !== told && data.length === 0 ? session.view : undefined;
      if (data.length > 0 || news)
        yield { offset: at, data: Buffer.from(data), skipped: false, session: news, message: news ? session.message : "" };
      at += data.length;
      told = news ?? told;
      if (news && news.ended !== ConsoleEnd.UNSPECIFIED) return;
      if (data.length === 0 && session.view === told) await changed.promise;
    }
  }

  async writeConsole(request: WriteConsoleRequest): Promise<{ nextSequence: number; repeatedInput: boolean }> {
    this.written.push(request);
    const session = this.#get(request.sessionId);
    if (request.takeOver) this.#claim(session, request);
    this.#demandWriter(session, request.writerKey);
    const expected = session.sequences.get(request.writerKey) ?? 1;
    if (request.sequence > expected) throw precondition("InputGap", { expected });
    if (request.sequence !== 0 && request.sequence < expected) return { nextSequence: expected, repeatedInput: true };
    const nextSequence = request.sequence === 0 ? expected : expected + 1;
    session.sequences.set(request.writerKey, nextSequence);
    this.put(request.sessionId, request.data);
    return { nextSequence, repeatedInput: false };
  }

  async resizeConsole({ sessionId, writerKey, size }: ResizeConsoleRequest): Promise<ConsoleSession> {
    const session = this.#get(sessionId);
    this.#demandWriter(session, writerKey);
    this.#tell(session, { size });
    return session.view;
  }

  async closeConsole({ sessionId, subject }: CloseConsoleRequest): Promise<ConsoleSession> {
    const session = this.#get(sessionId);
    this.end(sessionId, ConsoleEnd.CLOSED, `${subject} closed it.`);
    return session.view;
  }

  /** What the guest puts out. */
  put(sessionId: string, data: Uint8Array): void {
    const session = this.#get(sessionId);
    session.output = Buffer.concat([session.output, data]);
    session.view.nextOffset = session.output.length;
    this.#wake(session);
  }

  end(sessionId: string, ended: ConsoleEnd, message: string): void {
    const session = this.#get(sessionId);
    session.message = message;
    this.#tell(session, { ended });
  }

  #make({ nodeId, instanceId, kind, size, subject }: OpenConsoleRequest): Recorded {
    const made = kind === ConsoleKind.SHELL ? kind : ConsoleKind.TTY;
    const view = ConsoleSession.fromPartial({
      id: newConsoleSessionId(made === ConsoleKind.SHELL ? "shell" : "tty", nodeId),
      ...{ nodeId, instanceId, kind: made, size: size ?? { width: 80, height: 24 }, resizable: true, takesInput: true },
      ...{ openedAt: new Date(), openedBy: subject, nextSequence: 1 },
    });
    const changed = Promise.withResolvers<void>();
    const session = { view, output: Buffer.alloc(0), writerKey: "", sequences: new Map(), message: "", changed };
    this.sessions.set(view.id, session);
    return session;
  }

  #get(sessionId: string): Recorded {
    const session = this.sessions.get(sessionId);
    if (!session) throw notFound("ConsoleSession", sessionId);
    return session;
  }

  #claim(session: Recorded, { writerKey, subject }: { writerKey: string; subject: string }): void {
    session.writerKey = writerKey;
    this.#tell(session, { writer: subject, nextSequence: session.sequences.get(writerKey) ?? 1 });
  }

  #demandWriter({ view, writerKey }: Recorded, key: string): void {
    if (key === "" || key !== writerKey) throw precondition("NotTheWriter", { writer: view.writer });
  }

  #tell(session: Recorded, changes: Partial<ConsoleSession>): void {
    session.view = { ...session.view, ...changes };
    this.#wake(session);
  }

  #wake(session: Recorded): void {
    const { changed } = session;
    session.changed = Promise.withResolvers();
    changed.resolve();
  }
}

function precondition(reason: string, details: Record<string, unknown>): FleetError {
  return new FleetError("FAILED_PRECONDITION", "The console refuses.", { reason, details });
}
