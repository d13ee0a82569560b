import { newConsoleSessionId } from "../../platform/console-session-id.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { ConsoleEnd, type ConsoleFrame, type ConsoleSession as SessionView } from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { InstanceTerminal, OpenTerminalOptions, TerminalSize } from "../drivers/console-driver.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import type { Found } from "../instances/host-drivers.ts";
import { CarriedTerminal, type OpenTerminal } from "./carried-terminal.ts";
import { ConsoleSession, type JoinRequest, type TypingRequest } from "./console-session.ts";
import { ConsoleSessions } from "./console-sessions.ts";
import { CONSOLE_LIMITS, type ConsoleLimits } from "./limits.ts";

/** Opens a shell on the host itself. */
export type OpenShell = (size: TerminalSize) => Promise<InstanceTerminal>;

export interface NodeConsolesOptions {
  /** What the host has of an instance of the node. NOT_FOUND, FAILED_PRECONDITION InstanceMissing, UNAVAILABLE. */
  findInstance: (nodeId: string, instanceId: string, signal: AbortSignal) => Promise<Found>;
  /** Null: the host's configuration does not allow it. */
  openShell: OpenShell | null;
  limits?: ConsoleLimits;
  log: Logger;
}

export interface OpenRequest extends JoinRequest {
  nodeId: string;
}

const OPEN_MS = 20_000;
const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };

/** The consoles of one node: of its instances, and shells on the host. Sessions live here, whoever comes and goes. */
export class NodeConsoles {
  readonly #options: NodeConsolesOptions;
  readonly #limits: ConsoleLimits;
  readonly #sessions: ConsoleSessions;

  constructor(options: NodeConsolesOptions) {
    this.#options = options;
    this.#limits = options.limits ?? CONSOLE_LIMITS;
    this.#sessions = new ConsoleSessions(this.#limits);
  }

  /** Opens the console of an instance, or joins it. See ConsoleAgentService.OpenConsole. */
  async openInstance(instanceId: string, request: OpenRequest): Promise<SessionView> {
    const { session, isNew } = await this.#sessions.ofInstance(instanceId, () => this.#openInstance(instanceId, request));
    // Whoever opened it gave it its size.
    return await session.join(isNew ? { ...request, size: null } : request);
  }

  /** FAILED_PRECONDITION ShellNotAllowed, ShellUnavailable. */
  async openShell(request: OpenRequest): Promise<SessionView> {
    const { openShell } = this.#options;
    if (openShell === null) {
      throw precondition("ShellNotAllowed", "This host's configuration (agent.shell) does not allow shells.");
    }
    const session = await this.#sessions.add(true, async () => {
      const size = request.size ?? DEFAULT_SIZE;
      return this.#start("", request, await openShell(size), size, null);
    });
    return await session.join({ ...request, size: null });
  }

  list(instanceId: string): SessionView[] {
    return this.#sessions.list(instanceId).map((session) => session.view());
  }

  /** NOT_FOUND, RESOURCE_EXHAUSTED TooManyViewers. */
  follow(sessionId: string, offset: number, signal: AbortSignal): AsyncIterable<ConsoleFrame> {
    return this.#sessions.get(sessionId).follow(offset, signal);
  }

  async type(sessionId: string, request: TypingRequest, signal: AbortSignal): ReturnType<ConsoleSession["type"]> {
    return await this.#sessions.get(sessionId).type(request, signal);
  }

  async resize(sessionId: string, writerKey: string, size: TerminalSize): Promise<SessionView> {
    return await this.#sessions.get(sessionId).resize(writerKey, size);
  }

  /** Ends it for all; one that has ended stays as it is. NOT_FOUND. */
  async closeSession(sessionId: string, subject: string): Promise<SessionView> {
    const session = this.#sessions.get(sessionId);
    if (session.ending === null) {
      this.#options.log.info({ subject, sessionId, instanceId: session.instanceId }, "a console was closed");
      await session.end({ end: ConsoleEnd.CLOSED, message: `${subject || "Somebody"} closed the console.` });
    }
    return session.view();
  }

  /** The agent ends. */
  async stop(): Promise<void> {
    await this.#sessions.close();
  }

  /** Goes on when the caller leaves: others may wait for it. */
  async #openInstance(instanceId: string, request: OpenRequest): Promise<ConsoleSession> {
    const size = request.size ?? DEFAULT_SIZE;
    const open = async (now: TerminalSize, limited: AbortSignal, options: OpenTerminalOptions) => {
      const { driver, native } = await this.#options.findInstance(request.nodeId, instanceId, limited);
      if (driver.consoles === null) throw precondition("NoConsole", `${driver.name} has no consoles.`);
      return await driver.consoles.openTerminal({ nativeId: native.nativeId }, now, limited, options);
    };
    const terminal = await open(size, AbortSignal.timeout(OPEN_MS), { force: request.takeOver });
    return this.#start(instanceId, request, terminal, size, open);
  }

  #start(
    instanceId: string,
    { nodeId, subject }: OpenRequest,
    terminal: InstanceTerminal,
    size: TerminalSize,
    reopen: OpenTerminal | null,
  ): ConsoleSession {
    const id = newConsoleSessionId(SESSION_KINDS[terminal.kind], nodeId);
    const log = this.#options.log.child({ sessionId: id, instanceId });
    log.info({ subject, kind: terminal.kind }, "a console was opened");
    const { awayMs } = this.#limits;
    return new ConsoleSession({
      ...{ id, nodeId, instanceId, size, log, openedBy: subject, limits: this.#limits },
      terminal: new CarriedTerminal({ terminal, size, reopen, awayMs, log }),
      onEnded: () => this.#sessions.ended(id),
    });
  }
}

const SESSION_KINDS = { SERIAL: "serial", TTY: "tty", SHELL: "shell" } as const;
