import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { ON_SITE } from "../../services/operations/operation-requests.ts";
import type { NodesContext } from "../nodes-context.ts";
import { CancelNodeOperationInput, DisableNodeInput, EnableNodeInput, RebootNodeInput, ShutdownNodeInput } from "./operation-inputs.ts";
import { NodeOperationObject, toOperationObject } from "./operation-object.ts";
import {
  CancelNodeOperationPayload,
  DisableNodePayload,
  EnableNodePayload,
  RebootNodePayload,
  ShutdownNodePayload,
} from "./operation-payloads.ts";

@Resolver(() => NodeOperationObject)
export class OperationMutationsResolver {
  @Mutation(() => DisableNodePayload, {
    description:
      "Puts a node into maintenance: nothing new is placed there, no migration comes in, running instances stay or, as an operation, leave it. CONFLICT (reason OperationUnderWay). Rights: operator.",
  })
  async disableNode(
    @Arg("input", () => DisableNodeInput) input: DisableNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<DisableNodePayload> {
    const operation = await services.operations.requests.disable(request, input);
    return { node: { id: input.nodeId }, operation: operation && toOperationObject(operation) };
  }

  @Mutation(() => EnableNodePayload, {
    description: "Ends a node's maintenance. CONFLICT (reason OperationUnderWay). Rights: operator.",
  })
  async enableNode(
    @Arg("input", () => EnableNodeInput) input: EnableNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<EnableNodePayload> {
    const restoredInstances = await services.operations.requests.enable(request, input);
    return { node: { id: input.nodeId }, restoredInstances };
  }

  @Mutation(() => RebootNodePayload, {
    description:
      "Starts a node's host again, through its logind or systemctl. The node is in maintenance meanwhile. One that does not come back in time is FAILED with the reason DidNotReturn, and stays in maintenance until somebody enables it. INVALID_ARGUMENT (reason ConfirmationMismatch); FAILED_PRECONDITION with the reason InstancesRunning, UnmanagedInstancesRunning, PowerNotAllowed, NoLogind, NoShell, NoPermission, NotSupported or Inhibited; CONFLICT (reason OperationUnderWay). Rights: admin.",
  })
  async rebootNode(
    @Arg("input", () => RebootNodeInput) input: RebootNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<RebootNodePayload> {
    const operation = await services.operations.requests.reboot(request, input);
    return { node: { id: input.nodeId }, operation: toOperationObject(operation) };
  }

  @Mutation(() => ShutdownNodePayload, {
    description:
      "Switches a node's host off, once all of its instances have left or are stopped. The node stays in maintenance; see enableNode. Errors as those of rebootNode. Rights: admin.",
  })
  async shutdownNode(
    @Arg("input", () => ShutdownNodeInput) input: ShutdownNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<ShutdownNodePayload> {
    const operation = await services.operations.requests.shutdown(request, input);
    return { node: { id: input.nodeId }, operation: toOperationObject(operation), warning: ON_SITE };
  }

  @Mutation(() => CancelNodeOperationPayload, {
    description:
      "Asks for the end of an operation; what was begun is undone, but what has been moved stays where it is, and a node that was being disabled stays in maintenance. FAILED_PRECONDITION (reason OperationEnded; reason TooLateToCancel once the host may have been told). Rights: operator; admin for all but DISABLE.",
  })
  async cancelNodeOperation(
    @Arg("input", () => CancelNodeOperationInput) { operationId }: CancelNodeOperationInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<CancelNodeOperationPayload> {
    return { operation: toOperationObject(await services.operations.requests.cancel(request, operationId)) };
  }
}
