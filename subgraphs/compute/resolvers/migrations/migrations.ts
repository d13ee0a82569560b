import { Arg, Ctx, ID, Mutation, Query, Resolver } from "type-graphql";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { toTaskObject } from "../tasks/task-type.ts";
import { MigrateInstanceInput, MigrateInstancePayload, MigrationPreflightObject, toPreflightObject } from "./migration-types.ts";

/** Live migration. */
@Resolver(() => InstanceObject)
export class MigrationsResolver {
  @Query(() => MigrationPreflightObject, {
    nullable: true,
    description:
      "Whether a VM that runs can be moved to a node, or, without one, to the node that migrateInstance would take. Changes nothing. Rights: operator.",
  })
  async checkMigration(
    @Arg("instanceId", () => ID) instanceId: string,
    @Arg("targetNodeId", () => ID, { nullable: true }) targetNodeId: string | null,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<MigrationPreflightObject> {
    return toPreflightObject(await services.migrations.requests.check(request, instanceId, targetNodeId));
  }

  @Mutation(() => MigrateInstancePayload, {
    description:
      "Moves a VM to another node while it runs. FAILED_PRECONDITION (reason MigrationNotPossible, with each check that failed) where that cannot be. cancelTask ends it until the target takes over. However it ends, the VM runs on one node. Rights: operator.",
  })
  async migrateInstance(
    @Arg("input", () => MigrateInstanceInput) input: MigrateInstanceInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<MigrateInstancePayload> {
    const { task, instance } = await services.migrations.requests.migrate(request, input);
    return { task: toTaskObject(task), instance: toInstanceObject(instance) };
  }
}
