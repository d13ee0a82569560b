import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { toKeyValues, toStringMap } from "../../../kit/graphql/key-values.ts";
import { NodeStub } from "../node-stub.ts";
import type { NodesContext } from "../nodes-context.ts";
import { toOperationObject } from "../operations/operation-object.ts";
import { AddNodeInput, DeleteNodeInput, UpdateNodeAccessInput } from "./host-inputs.ts";
import { AddNodePayload, DeleteNodePayload, UpdateNodeAccessPayload } from "./host-types.ts";

@Resolver(() => NodeStub)
export class HostMutationsResolver {
  @Mutation(() => AddNodePayload, {
    description:
      "Adds a host without an agent: an agent connects to it, verifies libvirt and reads the hardware, and only then the node exists. A failure says at which step (extensions.step: AGENT, RESOLVE, CONNECT, HOST_KEY, AUTHENTICATE, LIBVIRT, HARDWARE, REGISTER) and why. ALREADY_EXISTS: HostnameTaken, SameHost. A call that is cut off goes on; the same clientRequestId gives its outcome. Rights: admin.",
  })
  async addNode(
    @Arg("input", () => AddNodeInput) { labels, ...input }: AddNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<AddNodePayload> {
    const host = { ...input, labels: toStringMap("labels", labels) };
    const { nodeId, bridgedBy, hostKeys } = await services.hosts.additions.add(request, host);
    return { node: { id: nodeId }, bridgedBy: bridgedBy === null ? null : { id: bridgedBy }, hostKeys };
  }

  @Mutation(() => UpdateNodeAccessPayload, {
    description:
      "Changes how a host that was added by URI is reached: its address, credentials, host keys. The agent that stands for it tries the new way first; a failure changes nothing, and says at which step, as addNode does. FAILED_PRECONDITION: NotBridged, AnotherHost; CONFLICT while the node is being changed or deleted. Instances run on meanwhile. Rights: admin.",
  })
  async updateNodeAccess(
    @Arg("input", () => UpdateNodeAccessInput) input: UpdateNodeAccessInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<UpdateNodeAccessPayload> {
    const { nodeId, hostKeys } = await services.hosts.accessChanges.change(request, input);
    return { node: { id: nodeId }, hostKeys };
  }

  @Mutation(() => DeleteNodePayload, {
    description:
      "Takes a node out of the fleet. Nothing is done on the host itself: what runs there runs on. INVALID_ARGUMENT (ConfirmationMismatch), CONFLICT (OperationUnderWay), FAILED_PRECONDITION (InstancesRunning). Rights: admin.",
  })
  async deleteNode(
    @Arg("input", () => DeleteNodeInput) input: DeleteNodeInput,
    @Ctx() { request, services }: NodesContext,
  ): Promise<DeleteNodePayload> {
    const { nodeId, configuration, operation } = await services.hosts.removals.delete(request, input);
    const { labels, annotations } = configuration;
    return {
      nodeId,
      configuration: { ...configuration, labels: toKeyValues(labels), annotations: toKeyValues(annotations) },
      operation: operation && toOperationObject(operation),
    };
  }
}
