import { Arg, Ctx, FieldResolver, ID, Int, Resolver, Root, Subscription } from "type-graphql";
import type { LogEntry } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import { mapIterator } from "../../../kit/graphql/async-iterators.ts";
import { LOG_PRIORITIES } from "../../services/logs/log-input.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { NodeLogBatchObject, NodeLogConnectionObject, type NodeLogEntryObject, NodeLogFilterInput } from "./log-types.ts";

interface NodeLogsArgs {
  nodeId: string;
  filter?: NodeLogFilterInput | null;
  after?: string | null;
}

@Resolver(() => NodeStub)
export class NodeLogsResolver {
  @FieldResolver(() => NodeLogConnectionObject, {
    nullable: true,
    description:
      "The host's journal, filtered there; without a cursor its newest entries. FAILED_PRECONDITION, with the reason, where it has none (NoJournal) or cannot be asked (NoShell, NoPermission). Rights: operator.",
  })
  async logs(
    @Root() { id }: NodeStub,
    @Arg("filter", () => NodeLogFilterInput, { nullable: true }) filter: NodeLogFilterInput | null,
    @Arg("first", () => Int, { nullable: true, description: "1–500, default 50: with `after`, towards the newer." }) first: number | null,
    @Arg("after", () => String, { nullable: true }) after: string | null,
    @Arg("last", () => Int, { nullable: true, description: "1–500: with `before`, towards the older." }) last: number | null,
    @Arg("before", () => String, { nullable: true }) before: string | null,
    @Ctx() { request, services }: NodesContext,
  ): Promise<NodeLogConnectionObject> {
    const { entries, hasOlder, hasNewer } = await services.logs.read(request, id, filter, { first, after, last, before });
    const nodes = entries.map(toEntryObject);
    return {
      nodes,
      edges: nodes.map((node) => ({ node, cursor: node.cursor })),
      pageInfo: {
        hasNextPage: hasNewer,
        hasPreviousPage: hasOlder,
        startCursor: nodes[0]?.cursor ?? null,
        endCursor: nodes.at(-1)?.cursor ?? null,
      },
    };
  }

  @Subscription(() => NodeLogBatchObject, {
    description:
      "What a host writes to its log from now on; with `after`, what came behind that entry first, with a beginning in the filter, what came since. A reader that is slow holds the host's journalctl back and misses nothing. Rights: operator.",
    subscribe: ({ args, context }: { args: NodeLogsArgs; context: NodesContext }) =>
      mapIterator(context.services.logs.follow(context.request, args.nodeId, args.filter ?? null, args.after ?? null), ({ entries }) => ({
        entries: entries.map(toEntryObject),
        cursor: entries.at(-1)?.cursor ?? "",
      })),
  })
  nodeLogs(
    @Root() batch: NodeLogBatchObject,
    @Arg("nodeId", () => ID) _nodeId: string,
    @Arg("filter", () => NodeLogFilterInput, { nullable: true }) _filter: NodeLogFilterInput | null,
    @Arg("after", () => String, { nullable: true, description: "The cursor of an entry." }) _after: string | null,
  ): NodeLogBatchObject {
    return batch;
  }
}

function toEntryObject({ priority, unit, identifier, bootId, time, pid, ...entry }: LogEntry): NodeLogEntryObject {
  return {
    ...entry,
    time: time ?? null,
    pid: pid ?? null,
    priority: priority === undefined ? null : (LOG_PRIORITIES[priority] ?? null),
    unit: unit || null,
    identifier: identifier || null,
    bootId: bootId || null,
  };
}
