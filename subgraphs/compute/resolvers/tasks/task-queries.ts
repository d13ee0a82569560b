import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from "type-graphql";
import { type Connection, ConnectionArgs, toConnection } from "../../../kit/graphql/connection.ts";
import type { TaskList } from "../../services/tasks/task-queries.ts";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { NodeStub } from "../node-stub.ts";
import { CancelTaskInput, TaskFilterInput } from "./task-inputs.ts";
import { CancelTaskPayload, TaskConnection, TaskObject, toTaskObject } from "./task-type.ts";

@Resolver(() => TaskObject)
class TaskQueriesResolver {
  @Query(() => TaskConnection, { description: "Tasks, newest first; ended ones while they are kept. Rights: viewer." })
  async tasks(
    @Arg("filter", () => TaskFilterInput, { nullable: true }) filter: TaskFilterInput | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<Connection<TaskObject>> {
    return toTaskConnection(await services.tasks.list(request, filter, page));
  }

  @Query(() => TaskObject, {
    nullable: true,
    description: "One task. Rights: viewer. NOT_FOUND where there is none, or it is no longer kept.",
  })
  async task(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ComputeContext): Promise<TaskObject> {
    return toTaskObject(await services.tasks.get(request, id, "id"));
  }

  @Mutation(() => CancelTaskPayload, {
    description:
      "Asks for the end of a task; what it began is undone, and its events tell the end. FAILED_PRECONDITION (reason TaskEnded) where it has ended, (reason TooLateToCancel) where it is completed whatever happens. Rights: operator.",
  })
  async cancelTask(
    @Arg("input", () => CancelTaskInput) { taskId }: CancelTaskInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<CancelTaskPayload> {
    return { task: toTaskObject(await services.taskRequests.cancel(request, taskId)) };
  }

  @FieldResolver(() => NodeStub, { nullable: true, description: "Null where it works on none, or the node is no longer known." })
  node(@Root() { nodeId }: TaskObject): NodeStub | null {
    return nodeId === null ? null : { id: nodeId };
  }

  @FieldResolver(() => InstanceObject, { nullable: true, description: "Null where it works for none, or the instance is no longer kept." })
  async instance(@Root() { instanceId }: TaskObject, @Ctx() { instances }: ComputeContext): Promise<InstanceObject | null> {
    const instance = instanceId === null ? null : await instances.load(instanceId);
    return instance && toInstanceObject(instance);
  }
}

@Resolver(() => InstanceObject)
class InstanceTasksResolver {
  @FieldResolver(() => TaskConnection, {
    nullable: true,
    description: "What takes long and is, or was, done with it, newest first. Rights: viewer.",
  })
  async tasks(
    @Root() { id }: InstanceObject,
    @Arg("active", () => Boolean, { nullable: true, description: "True: only what has not ended." }) active: boolean | null,
    @Args(() => ConnectionArgs) page: ConnectionArgs,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<Connection<TaskObject>> {
    return toTaskConnection(await services.tasks.list(request, { instanceId: id, active }, page));
  }
}

export const TASK_QUERIES = [TaskQueriesResolver, InstanceTasksResolver] as const;

function toTaskConnection(list: TaskList): Connection<TaskObject> {
  const edges = list.edges.map(({ node, cursor }) => ({ node: toTaskObject(node), cursor }));
  return toConnection({ edges, pageInfo: list.pageInfo }, list.totalCount, list.watchCursor);
}

/** Resolves `Task` where another subgraph refers to one; null where there is none. */
export async function resolveTaskReference({ id }: { id: string }, { tasks }: ComputeContext): Promise<TaskObject | null> {
  const task = await tasks.load(id);
  return task && toTaskObject(task);
}
