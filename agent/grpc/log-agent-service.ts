import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { LogAgentServiceDefinition, type LogEntry } from "../../schema/generated/proto/hypervisor/v1/logs.ts";
import { checkCursor, checkFilter, checkLimit } from "../logs/log-request.ts";
import type { NodeLogs } from "../logs/node-logs.ts";
import { ofOwnNode } from "./callers.ts";

/** Entries that are there together go together. */
const MOST_AT_ONCE = 200;

/** A host's logs. Every call names its node. */
export function logAgentService(findLogs: (nodeId: string) => NodeLogs | null): GrpcService {
  return grpcService(LogAgentServiceDefinition, {
    async readLogs({ nodeId, filter, limit, after, before }, { fleet }) {
      const logs = ofOwnNode(fleet, nodeId, findLogs);
      const page = { limit: checkLimit(limit), after: checkCursor("after", after), before: checkCursor("before", before) };
      if (page.after !== null && page.before !== null)
        throw invalidArgument("before", "A page is behind one entry or before one, not both.");
      return await logs.read(checkFilter(filter), page, fleet.signal);
    },
    async *followLogs({ nodeId, filter, after }, { fleet }) {
      const logs = ofOwnNode(fleet, nodeId, findLogs);
      const ended = new AbortController();
      const entries = logs.follow(checkFilter(filter), checkCursor("after", after), AbortSignal.any([fleet.signal, ended.signal]));
      try {
        for await (const batch of batches(entries, MOST_AT_ONCE)) yield { entries: batch };
      } finally {
        ended.abort();
      }
    },
  });
}

/** What comes in one turn of the event loop as one batch; the next entry is asked for while the batch is on its way. */
async function* batches(entries: AsyncGenerator<LogEntry>, most: number): AsyncGenerator<LogEntry[]> {
  let next = entries.next();
  try {
    for (;;) {
      const first = await next;
      if (first.done === true) return;
      const batch = [first.value];
      next = entries.next();
      while (batch.length < most) {
        const more = await Promise.race([next, turn()]);
        if (more === null || more.done === true) break;
        batch.push(more.value);
        next = entries.next();
      }
      yield batch;
    }
  } finally {
    // It may fail for the same reason as the reader went.
    next.catch(() => undefined);
    await entries.return(undefined);
  }
}

function turn(): Promise<null> {
  return new Promise((resolve) => setImmediate(resolve, null));
}
