import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { LogAgentServiceDefinition, type LogBatch, type ReadLogsResponse } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { checkId } from "../../../kit/input-checks.ts";
import { checkLogCursor, checkLogFilter, checkLogPage, type RawLogFilter, type RawLogPage } from "./log-input.ts";

/** A journal that hardly matches is read for a while. */
const READ_MS = 25_000;

/** Hosts' logs, which are read there for each request, and stored nowhere. Rights: operator. */
export class NodeLogs {
  readonly #commands: AgentCommands;

  constructor(commands: AgentCommands) {
    this.#commands = commands;
  }

  /**
   * Entries in the order of time. Throws INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE with an AgentRefusal as reason, FAILED_PRECONDITION (NoJournal,
   * NoQemuLogs, NoShell, NoPermission), DEADLINE_EXCEEDED.
   */
  async read(ctx: RequestContext, nodeId: string, rawFilter: RawLogFilter | null, rawPage: RawLogPage): Promise<ReadLogsResponse> {
    requireRole(ctx.identity, "operator");
    const request = { nodeId: checkId("nodeId", nodeId), filter: checkLogFilter(rawFilter), ...checkLogPage(rawPage) };
    return await this.#commands.call(ctx, nodeId, LogAgentServiceDefinition, (client, options) => client.readLogs(request, options), {
      deadlineMs: READ_MS,
    });
  }

  /** At the reader's pace, until it leaves. Throws INVALID_ARGUMENT at once, the rest as `read` with the first entries. */
  async *follow(ctx: RequestContext, nodeId: string, rawFilter: RawLogFilter | null, after: string | null): AsyncGenerator<LogBatch> {
    requireRole(ctx.identity, "operator");
    const request = { nodeId: checkId("nodeId", nodeId), filter: checkLogFilter(rawFilter), after: checkLogCursor(after) };
    const batches = this.#commands.stream(ctx, nodeId, LogAgentServiceDefinition, (client, options) => client.followLogs(request, options));
    yield* batches;
    // With `until` there is nothing more to come.
    if (request.filter.until === undefined) {
      throw new FleetError("UNAVAILABLE", "The host's log ended.", { reason: "LogsEnded", details: { nodeId } });
    }
  }
}
