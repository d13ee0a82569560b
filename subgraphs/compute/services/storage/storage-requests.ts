import { requireRole } from "../../../../platform/auth/identity.ts";
import type { FleetCallOptions, GrpcClient } from "../../../../platform/grpc/client.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { StorageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { checkId } from "../../../kit/input-checks.ts";
import { checkPoolName } from "../spec-devices-input.ts";
import { checkDiskSize } from "../spec-input.ts";
import { checkPool, checkVolume, checkVolumeOf, type RawPool, type RawVolume, type RawVolumeName } from "./storage-input.ts";
import { PROTO_FORMATS, PROTO_KINDS, poolView, volumeView } from "./storage-messages.ts";
import type { PoolView, VolumeView } from "./storage-types.ts";

type StorageClient = GrpcClient<typeof StorageAgentServiceDefinition>;

/** A mount may wait for its server, a volume for the copy of its image. */
const DEADLINE_MS = 120_000;

/**
 * What people ask of pools and volumes. Agents carry it out at once, and do nothing where it is done already: what was not answered in time
 * (UNAVAILABLE, reason AgentTimeout) is asked for again. All throw INVALID_ARGUMENT, NOT_FOUND, what AgentCommands.call throws, and what
 * the agent refuses with.
 */
export class StorageRequests {
  readonly #commands: AgentCommands;

  constructor(commands: AgentCommands) {
    this.#commands = commands;
  }

  /** Rights: admin. */
  async createPool(ctx: RequestContext, raw: RawPool): Promise<PoolView> {
    requireRole(ctx.identity, "admin");
    const { kind, ...pool } = checkPool(raw);
    const made = await this.#ask(ctx, pool.nodeId, (client, options) => client.createPool({ ...pool, kind: PROTO_KINDS[kind] }, options));
    return poolView(pool.nodeId, made);
  }

  /** Rights: admin. Its directory stays. FAILED_PRECONDITION: PoolInUse, PoolNotEmpty, PoolNotManaged. */
  async deletePool(ctx: RequestContext, raw: { nodeId: string; name: string; withVolumes?: boolean | null }): Promise<void> {
    requireRole(ctx.identity, "admin");
    const nodeId = checkId("nodeId", raw.nodeId);
    const name = checkPoolName("name", raw.name);
    await this.#ask(ctx, nodeId, (client, options) => client.deletePool({ nodeId, name, withVolumes: raw.withVolumes ?? false }, options));
  }

  /** Rights: operator. */
  async createVolume(ctx: RequestContext, raw: RawVolume): Promise<VolumeView> {
    requireRole(ctx.identity, "operator");
    const { format, ...volume } = checkVolume(raw);
    const made = await this.#ask(ctx, volume.nodeId, (client, options) =>
      client.createVolume({ ...volume, format: PROTO_FORMATS[format] }, options),
    );
    return volumeView(volume.nodeId, made);
  }

  /** Rights: operator. It grows, also while a running instance has it. FAILED_PRECONDITION: VolumeShrink. */
  async resizeVolume(ctx: RequestContext, raw: RawVolumeName & { capacityBytes: number }): Promise<VolumeView> {
    requireRole(ctx.identity, "operator");
    const volume = checkVolumeOf(raw);
    const capacityBytes = checkDiskSize("capacityBytes", raw.capacityBytes);
    const resized = await this.#ask(ctx, volume.nodeId, (client, options) => client.resizeVolume({ ...volume, capacityBytes }, options));
    return volumeView(volume.nodeId, resized);
  }

  /** Rights: operator. FAILED_PRECONDITION: VolumeInUse, VolumeNotManaged. */
  async deleteVolume(ctx: RequestContext, raw: RawVolumeName): Promise<void> {
    requireRole(ctx.identity, "operator");
    const volume = checkVolumeOf(raw);
    await this.#ask(ctx, volume.nodeId, (client, options) => client.deleteVolume(volume, options));
  }

  #ask<T>(ctx: RequestContext, nodeId: string, call: (client: StorageClient, options: FleetCallOptions) => Promise<T>): Promise<T> {
    return this.#commands.call(ctx, nodeId, StorageAgentServiceDefinition, call, { deadlineMs: DEADLINE_MS });
  }
}
