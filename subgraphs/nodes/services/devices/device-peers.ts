import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { ComputeServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import {
  type AttachedDevice,
  DeviceAgentServiceDefinition,
  type DeviceName,
} from "../../../../schema/generated/proto/hypervisor/v1/devices.ts";
import type { Sriov } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";

export interface DevicePeersParts {
  compute: () => ChannelLease | Promise<ChannelLease>;
  agents: Pick<AgentCalls, "read">;
  commands: Pick<AgentCommands, "call">;
}

/** Where an instance is now. */
export interface Placement {
  instanceId: string;
  nodeId: string;
  generation: number;
}

const CALL_MS = 5_000;
/** A guest has half a minute to let go of a device, and a driver some time to come back. */
export const CHANGE_MS = 90_000;

/** The compute subgraph and agents, as they are asked about devices. */
export class DevicePeers {
  readonly #parts: DevicePeersParts;

  constructor(parts: DevicePeersParts) {
    this.#parts = parts;
  }

  /** Throws NOT_FOUND, FAILED_PRECONDITION (InstanceNotPlaced). */
  async placement(ctx: RequestContext, instanceId: string): Promise<Placement> {
    using lease = await this.#parts.compute();
    const client = lease.client(ComputeServiceDefinition);
    const { nodeId, generation } = await client.getInstance({ instanceId }, { context: ctx, deadlineMs: CALL_MS });
    if (nodeId !== "" && generation > 0) return { instanceId, nodeId, generation };
    throw new FleetError("FAILED_PRECONDITION", "The instance is on no node yet.", {
      reason: "InstanceNotPlaced",
      details: { instanceId },
    });
  }

  attach(ctx: RequestContext, placement: Placement, device: DeviceName): Promise<AttachedDevice> {
    return this.#parts.commands.call(
      ctx,
      placement.nodeId,
      DeviceAgentServiceDefinition,
      (client, options) => client.attachDevice({ ...placement, device }, options),
      { deadlineMs: CHANGE_MS },
    );
  }

  async detach(ctx: RequestContext, placement: Placement, device: DeviceName): Promise<void> {
    await this.#parts.commands.call(
      ctx,
      placement.nodeId,
      DeviceAgentServiceDefinition,
      (client, options) => client.detachDevice({ ...placement, device }, options),
      { deadlineMs: CHANGE_MS },
    );
  }

  /** Throws NOT_FOUND or FAILED_PRECONDITION (InstanceMissing) where the instance is not on that host. */
  async list(ctx: RequestContext, nodeId: string, instanceId: string): Promise<AttachedDevice[]> {
    const request = { nodeId, instanceId };
    const call = "ListAttachedDevices";
    const answer = await this.#parts.agents.read(
      ctx,
      nodeId,
      DeviceAgentServiceDefinition,
      call,
      (client, options) => client.listAttachedDevices(request, options),
      instanceId,
    );
    return answer.devices;
  }

  async setVfs(ctx: RequestContext, nodeId: string, pciAddress: string, count: number): Promise<Sriov> {
    const { sriov } = await this.#parts.commands.call(
      ctx,
      nodeId,
      DeviceAgentServiceDefinition,
      (client, options) => client.setSriovVfs({ nodeId, pciAddress, count }, options),
      { deadlineMs: CHANGE_MS },
    );
    if (sriov === undefined) throw new FleetError("INTERNAL", "The agent did not say what the device has now.");
    return sriov;
  }
}
