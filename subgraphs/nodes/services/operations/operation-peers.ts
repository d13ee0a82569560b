import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../../../platform/grpc/channel-pool.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { ClusterServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { EvacuationMode, EvacuationServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/evacuation.ts";
import { PowerAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/power.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { OperationPeers } from "./operation-types.ts";

type Lease = () => ChannelLease | Promise<ChannelLease>;

export interface OperationPeersParts {
  clusters: Lease;
  compute: Lease;
  commands: Pick<AgentCommands, "call">;
  /** What takes a node out of the fleet, with all that this subgraph knows of it; idempotent. */
  remove: OperationPeers["remove"];
}

const CALL_MS = 5_000;
/** It may begin migrations, whose hosts are asked first. */
const EVACUATE_MS = 15_000;
/** A busy host answers late. */
const POWER_MS = 30_000;

/** The clusters and compute subgraphs, and agents, as operations ask them. */
export function operationPeers({ clusters, compute, commands, remove }: OperationPeersParts): OperationPeers {
  const cluster = async <T>(ctx: RequestContext, call: (lease: ChannelLease) => Promise<T>) => {
    using lease = await untilAborted(clusters(), ctx.signal);
    return await call(lease);
  };
  const evacuation = async <T>(ctx: RequestContext, call: (lease: ChannelLease) => Promise<T>) => {
    using lease = await untilAborted(compute(), ctx.signal);
    return await call(lease);
  };
  return {
    maintenance: (ctx, nodeId) =>
      cluster(ctx, async (lease) => {
        try {
          const node = await lease.client(ClusterServiceDefinition).getNode({ nodeId }, { context: ctx, deadlineMs: CALL_MS });
          return node.deregistered ? null : { maintenance: node.maintenance, reason: node.maintenanceReason || null };
        } catch (error) {
          if (FleetError.from(error).code === "NOT_FOUND") return null;
          throw error;
        }
      }),
    setMaintenance: (ctx, nodeId, { maintenance, reason }) =>
      cluster(ctx, async (lease) => {
        const request = { nodeId, maintenance, reason: reason ?? "" };
        await lease.client(ClusterServiceDefinition).setMaintenance(request, { context: ctx, deadlineMs: CALL_MS });
      }),
    count: (ctx, nodeId) =>
      evacuation(ctx, (lease) =>
        lease.client(EvacuationServiceDefinition).countInstances({ nodeId }, { context: ctx, deadlineMs: CALL_MS }),
      ),
    evacuate: (ctx, { id, nodeId, instances, maxParallel, requestedBy }, cancel) =>
      evacuation(ctx, (lease) => {
        const mode = instances === "STOP" ? EvacuationMode.STOP : EvacuationMode.MIGRATE;
        const request = { nodeId, operationId: id, mode, maxParallel, requestedBy, cancel };
        return lease.client(EvacuationServiceDefinition).evacuate(request, { context: ctx, deadlineMs: EVACUATE_MS });
      }),
    restore: (ctx, { id, nodeId }) =>
      evacuation(ctx, (lease) =>
        lease.client(EvacuationServiceDefinition).restore({ nodeId, operationId: id }, { context: ctx, deadlineMs: CALL_MS }),
      ),
    power: (ctx, nodeId) =>
      commands.call(ctx, nodeId, PowerAgentServiceDefinition, (client, options) => client.getPower({ nodeId }, options), {
        deadlineMs: POWER_MS,
      }),
    async order(ctx, { id, nodeId, kind, bootId, reason, requestedBy }) {
      const request = { nodeId, operationId: id, bootId: bootId ?? "", reason: `${requestedBy}: ${reason ?? "no reason given"}` };
      await commands.call(
        ctx,
        nodeId,
        PowerAgentServiceDefinition,
        (client, options) => (kind === "REBOOT" ? client.reboot(request, options) : client.shutdown(request, options)),
        { deadlineMs: POWER_MS },
      );
    },
    remove,
  };
}

/** An address may never be told. */
async function untilAborted<T>(promise: T | Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
