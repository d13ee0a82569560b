import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import { toKeyValues, toStringMap } from "../../kit/graphql/key-values.ts";
import type { OpenCommand } from "../services/node-cache.ts";
import type { NodePatch } from "../services/node-types.ts";
import type { ClustersContext } from "./clusters-context.ts";
import {
  AdmitNodeInput,
  DeregisterNodeInput,
  HeartbeatInput,
  RegisterNodeInput,
  SendNodeCommandInput,
  UpdateNodeInput,
  UpdateNodeStatusInput,
} from "./node-inputs.ts";
import {
  AdmitNodePayload,
  DeregisterNodePayload,
  HeartbeatPayload,
  type NodeCommandType,
  RegisterNodePayload,
  SendNodeCommandPayload,
  UpdateNodePayload,
  UpdateNodeStatusPayload,
} from "./node-payloads.ts";
import { NodeType, toNodeType } from "./node-type.ts";

@Resolver(() => NodeType)
export class NodeMutationsResolver {
  @Mutation(() => RegisterNodePayload, {
    description:
      "Puts a host into the fleet, or brings a known one up to date: the same identity and hostname keep the id. Rights: the node's own certificate, or admin.",
  })
  async registerNode(
    @Arg("input", () => RegisterNodeInput) input: RegisterNodeInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<RegisterNodePayload> {
    const labels = toStringMap("labels", input.labels);
    const annotations = toStringMap("annotations", input.annotations);
    const node = await services.registration.register(request, { ...input, labels, annotations });
    const { heartbeatIntervalSeconds, leaseTtlSeconds } = services.config;
    return { node: toNodeType(node), heartbeatIntervalSeconds, leaseTtlSeconds };
  }

  @Mutation(() => UpdateNodePayload, { description: "Changes labels, annotations, region or zone. Rights: operator." })
  async updateNode(
    @Arg("input", () => UpdateNodeInput) input: UpdateNodeInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<UpdateNodePayload> {
    const patch: NodePatch = {
      region: input.region,
      zone: input.zone,
      labels: toStringMap("labels", input.labels),
      annotations: toStringMap("annotations", input.annotations),
    };
    return { node: toNodeType(await services.changes.update(request, input.nodeId, patch)) };
  }

  @Mutation(() => DeregisterNodePayload, {
    description: "Takes a node out of service (DELETED for watches); its agent is refused until admitNode. Rights: admin.",
  })
  async deregisterNode(
    @Arg("input", () => DeregisterNodeInput) { nodeId }: DeregisterNodeInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<DeregisterNodePayload> {
    return { node: toNodeType(await services.registration.deregister(request, nodeId)) };
  }

  @Mutation(() => AdmitNodePayload, { description: "Lets the agent of a deregistered node in again. Rights: admin." })
  async admitNode(
    @Arg("input", () => AdmitNodeInput) { nodeId }: AdmitNodeInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<AdmitNodePayload> {
    return { node: toNodeType(await services.registration.admit(request, nodeId)) };
  }

  @Mutation(() => UpdateNodeStatusPayload, {
    description:
      "Sets a status by hand; it holds until a heartbeat reports another status than the heartbeat before it. Rights: the node's own certificate, or admin.",
  })
  async updateNodeStatus(
    @Arg("input", () => UpdateNodeStatusInput) { nodeId, status, conditions }: UpdateNodeStatusInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<UpdateNodeStatusPayload> {
    return { node: toNodeType(await services.changes.updateStatus(request, nodeId, status, conditions)) };
  }

  @Mutation(() => HeartbeatPayload, {
    description:
      "A sign of life. Only a change of status, conditions or allocation becomes an event. Rights: the node's own certificate, or admin.",
  })
  async heartbeat(
    @Arg("input", () => HeartbeatInput) input: HeartbeatInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<HeartbeatPayload> {
    const answer = await services.heartbeats.take(request, input);
    return { ...answer, commands: answer.commands.map(toCommandType) };
  }

  @Mutation(() => SendNodeCommandPayload, {
    description: "Tells a node's agent to do something, with the answers to its heartbeats, until it acknowledges it. Rights: admin.",
  })
  async sendNodeCommand(
    @Arg("input", () => SendNodeCommandInput) { nodeId, type, parameters }: SendNodeCommandInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<SendNodeCommandPayload> {
    const command = await services.commands.send(request, nodeId, type, toStringMap("parameters", parameters) ?? {});
    return { command: toCommandType(command) };
  }
}

function toCommandType({ id, type, parameters }: OpenCommand): NodeCommandType {
  return { id, type, parameters: toKeyValues(parameters) };
}
