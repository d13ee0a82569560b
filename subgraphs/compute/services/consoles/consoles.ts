import { callerName, type Identity, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FleetCallOptions, GrpcClient } from "../../../../platform/grpc/client.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { ConsoleAgentServiceDefinition, ConsoleKind as ProtoKind } from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { checkId, checkInteger } from "../../../kit/input-checks.ts";
import type { InstanceQueries } from "../instance-queries.ts";
import { ConsoleFollower } from "./console-follower.ts";
import { checkInput, checkSize, writerKey } from "./console-input.ts";
import { sessionFromMessage } from "./console-messages.ts";
import type { ConsoleSessionView, OpenedConsole, RawInput, RawOpening, RawResize } from "./console-types.ts";
import { account, asSessionError, isNamedRight, mayUse, type SessionTarget, sessionNotFound, sessionTarget } from "./session-target.ts";

export interface ConsolesParts {
  queries: Pick<InstanceQueries, "get">;
  commands: Pick<AgentCommands, "call" | "stream">;
  agents: Pick<AgentCalls, "read">;
}

type Client = GrpcClient<typeof ConsoleAgentServiceDefinition>;

/** What a session is opened for. */
interface Subject {
  nodeId: string;
  /** Empty for a shell. */
  instanceId: string;
  kind: ProtoKind;
}

/** Opening waits for the host's own software, and the agent knows best how long. */
const OPEN_MS = 25_000;
/** A guest that does not read its input holds back who types, until the agent says so. */
const CALL_MS = 15_000;

/**
 * Consoles of instances and shells of nodes. The sessions live in the agents; an id names its node and kind, so that nothing is stored here.
 * Rights: operator for an instance's console, admin for a shell, asked of each call. What is typed and put out is never logged.
 */
export class Consoles {
  readonly #parts: ConsolesParts;

  constructor(parts: ConsolesParts) {
    this.#parts = parts;
  }

  /**
   * Opens the instance's session, or joins it. Throws NOT_FOUND, FAILED_PRECONDITION (InstanceUnmanaged, InstanceNotRunning, NoConsole,
   * ConsoleBusy: another program on the host holds it), RESOURCE_EXHAUSTED (TooManyConsoles), UNAVAILABLE with the reason why its agent was not asked or did not answer.
   */
  async open(ctx: RequestContext, instanceId: string, opening: RawOpening): Promise<OpenedConsole> {
    requireRole(ctx.identity, "operator");
    const { id, nodeId, managed, state } = await this.#parts.queries.get(ctx, instanceId);
    if (!managed) {
      throw new FleetError("FAILED_PRECONDITION", "This instance was found on its host: adopt it to use its console.", {
        reason: "InstanceUnmanaged",
        details: { instanceId, state },
      });
    }
    return this.#open(ctx, ctx.identity, { nodeId, instanceId: id, kind: ProtoKind.UNSPECIFIED }, opening);
  }

  /** A login shell on the host. Rights: admin, and the host's own configuration (FAILED_PRECONDITION where that forbids it). */
  async openShell(ctx: RequestContext, nodeId: string, opening: RawOpening): Promise<OpenedConsole> {
    requireRole(ctx.identity, "admin");
    return this.#open(ctx, ctx.identity, { nodeId: checkId("nodeId", nodeId), instanceId: "", kind: ProtoKind.SHELL }, opening);
  }

  /** Throws FAILED_PRECONDITION: NotTheWriter (details: writer), InputGap (details: expected). NOT_FOUND where the session is over. */
  async write(ctx: RequestContext, raw: RawInput): Promise<{ nextSequence: number; repeated: boolean }> {
    const target = sessionTarget(ctx, raw.sessionId);
    const takeOver = raw.takeOver ?? false;
    const data = checkInput(raw.data, takeOver);
    const given = raw.sequence ?? null;
    const sequence = given === null ? 0 : checkInteger("sequence", given, 1, Number.MAX_SAFE_INTEGER);
    const request = { ...asWriter(target, raw.terminalId), sequence, data, takeOver };
    const { nextSequence, repeatedInput } = await this.#call(ctx, target, (client, options) => client.writeConsole(request, options));
    if (takeOver) account(ctx, target, "a console was taken over");
    return { nextSequence, repeated: repeatedInput };
  }

  /** Throws FAILED_PRECONDITION, reason NotTheWriter. Where the terminal has no size of its own, it is noted and told to viewers. */
  async resize(ctx: RequestContext, raw: RawResize): Promise<ConsoleSessionView> {
    const target = sessionTarget(ctx, raw.sessionId);
    const request = { ...asWriter(target, raw.terminalId), size: checkSize(raw) };
    return sessionFromMessage(await this.#call(ctx, target, (client, options) => client.resizeConsole(request, options)));
  }

  /** Ends the session for all. */
  async close(ctx: RequestContext, sessionId: string): Promise<ConsoleSessionView> {
    const target = sessionTarget(ctx, sessionId);
    const request = { nodeId: target.nodeId, sessionId, subject: callerName(target.identity) };
    const closed = await this.#call(ctx, target, (client, options) => client.closeConsole(request, options));
    account(ctx, target, "a console was closed");
    return sessionFromMessage(closed);
  }

  /** Throws NOT_FOUND where there is none, or it is over. */
  async get(ctx: RequestContext, sessionId: string): Promise<ConsoleSessionView> {
    const { nodeId } = sessionTarget(ctx, sessionId);
    const sessions = await this.ofNode(ctx, nodeId).catch((error: unknown) => {
      throw asSessionError(error, sessionId);
    });
    const found = sessions.find(({ id }) => id === sessionId);
    if (found === undefined) throw sessionNotFound(sessionId);
    return found;
  }

  /** The sessions of a node's instances, and for an admin its shells. Rights: operator. */
  async ofNode(ctx: RequestContext, nodeId: string): Promise<ConsoleSessionView[]> {
    requireRole(ctx.identity, "operator");
    const { identity } = ctx;
    const { sessions } = await this.#parts.agents.read(ctx, nodeId, ConsoleAgentServiceDefinition, "ListConsoles", (client, options) =>
      client.listConsoles({ nodeId, instanceId: "" }, options),
    );
    return sessions.filter((session) => isNamedRight(session, nodeId) && mayUse(identity, session)).map(sessionFromMessage);
  }

  /**
   * What was put out from an offset on (null: all that is kept), then what is put out; the last frame has the session's end. Errors come
   * with `next`: NOT_FOUND, UNAVAILABLE where the agent is lost; then it can be followed again from the next offset.
   */
  follow(ctx: RequestContext, sessionId: string, offset: number | null): ConsoleFollower {
    const { nodeId, identity } = sessionTarget(ctx, sessionId);
    const from = offset === null ? -1 : checkInteger("offset", offset, 0, Number.MAX_SAFE_INTEGER);
    const request = { nodeId, sessionId, offset: from, subject: callerName(identity) };
    const frames = this.#parts.commands.stream(ctx, nodeId, ConsoleAgentServiceDefinition, (client, options) =>
      client.followConsole(request, options),
    );
    return new ConsoleFollower(frames, (error) => asSessionError(error, sessionId));
  }

  async #open(ctx: RequestContext, identity: Identity, subject: Subject, opening: RawOpening): Promise<OpenedConsole> {
    const { nodeId, kind } = subject;
    const takeOver = opening.takeOver ?? false;
    const key = opening.readOnly === true ? "" : writerKey(identity, opening.terminalId);
    const request = { ...subject, size: checkSize(opening), subject: callerName(identity), writerKey: key, takeOver };
    const opened = await this.#parts.commands.call(
      ctx,
      nodeId,
      ConsoleAgentServiceDefinition,
      (client, options) => client.openConsole(request, options),
      { deadlineMs: OPEN_MS },
    );
    if (!isNamedRight(opened, nodeId) || (opened.kind === ProtoKind.SHELL) !== (kind === ProtoKind.SHELL)) {
      throw new Error(`The agent of ${nodeId} answered with a session that is not the one asked for.`);
    }
    const session = sessionFromMessage(opened);
    const target = { sessionId: session.id, nodeId, identity };
    account(ctx, target, "a console was opened", { instanceId: session.instanceId, kind: session.kind, takeOver });
    return { session, writable: opened.writable };
  }

  async #call<T>(
    ctx: RequestContext,
    { nodeId, sessionId }: SessionTarget,
    call: (client: Client, options: FleetCallOptions) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#parts.commands.call(ctx, nodeId, ConsoleAgentServiceDefinition, call, { deadlineMs: CALL_MS });
    } catch (error) {
      throw asSessionError(error, sessionId);
    }
  }
}

function asWriter({ nodeId, sessionId, identity }: SessionTarget, terminalId: string | null | undefined) {
  return { nodeId, sessionId, writerKey: writerKey(identity, terminalId), subject: callerName(identity) };
}
