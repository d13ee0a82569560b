import { callerName, hasRole, type Identity, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { DeviceName } from "../../../../schema/generated/proto/hypervisor/v1/devices.ts";
import type { Sriov } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { knownNode } from "../../../kit/agents/agent-failure.ts";
import { checkId, checkInteger, checkName } from "../../../kit/input-checks.ts";
import type { DeviceReservation } from "../../entities/device-reservation.ts";
import type { InventoryReads } from "../inventory/inventory-reads.ts";
import { checkDevicePlace, checkPciAddress, checkUsbIds, type RawDevice, type RawUsbIds } from "./device-input.ts";
import type { DevicePeers, Placement } from "./device-peers.ts";
import { assignmentView } from "./device-queries.ts";
import type { DeviceSettling } from "./device-settling.ts";
import type { Claimant, Claimed, DeviceStore, NodeDevice } from "./device-store.ts";
import { type DevicePlace, deviceKey, type InstanceDeviceView } from "./device-types.ts";

export interface DeviceRequestsParts {
  store: DeviceStore;
  peers: DevicePeers;
  settling: DeviceSettling;
  inventory: InventoryReads;
  directory: AgentDirectory;
}

/** After these nobody knows whether it was done. */
const UNDECIDED = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL"]);
const MAX_NOTE = 500;
const MAX_VFS = 65_535;

/**
 * What people do with devices of hosts. Rights: operator. All throw INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION with a reason of the agent's or
 * DeviceReserved, and UNAVAILABLE where the agent does not answer: what it was told may be under way then, and the same call may be repeated.
 */
export class DeviceRequests {
  readonly #parts: DeviceRequestsParts;

  constructor(parts: DeviceRequestsParts) {
    this.#parts = parts;
  }

  /** Does nothing where the instance has it. */
  async attach(ctx: RequestContext, raw: { instanceId: string } & RawDevice & RawUsbIds): Promise<InstanceDeviceView> {
    requireRole(ctx.identity, "operator");
    const place = checkDevicePlace(raw);
    const name = nameOf(place, checkUsbIds(raw));
    const placement = await this.#placement(ctx, raw.instanceId);
    const where = { nodeId: placement.nodeId, device: deviceKey(place) };
    const by = claimant(ctx.identity);
    const { before } = await this.#claim(ctx, where, placement, by);
    const { store, peers } = this.#parts;
    try {
      const attached = await peers.attach(ctx, placement, name);
      await store.mark(where, placement.instanceId, "ATTACHED");
      ctx.log.info({ ...where, instanceId: placement.instanceId, by: by.name }, "a device was attached");
      return assignmentView({ ...where, state: "ATTACHED", requestedBy: by.name }, { value: [attached] });
    } catch (error) {
      if (!UNDECIDED.has(FleetError.from(error).code)) {
        if (before === null) await store.drop(where, placement.instanceId);
        else await store.mark(where, placement.instanceId, before);
      }
      throw error;
    }
  }

  /** Does nothing where the instance does not have it. */
  async detach(ctx: RequestContext, raw: { instanceId: string } & RawDevice): Promise<void> {
    requireRole(ctx.identity, "operator");
    const place = checkDevicePlace(raw);
    const placement = await this.#placement(ctx, raw.instanceId);
    const where = { nodeId: placement.nodeId, device: deviceKey(place) };
    const { store, peers } = this.#parts;
    const isKnown = await store.mark(where, placement.instanceId, "DETACHING");
    try {
      await peers.detach(ctx, placement, nameOf(place, { vendorId: 0, productId: 0 }));
    } catch (error) {
      if (isKnown && !UNDECIDED.has(FleetError.from(error).code)) await store.mark(where, placement.instanceId, "ATTACHED");
      throw error;
    }
    await store.drop(where, placement.instanceId);
    ctx.log.info({ ...where, instanceId: placement.instanceId, by: claimant(ctx.identity).name }, "a device was detached");
  }

  /** As many virtual functions as `count`: 0 to what the device can have. */
  async setVfs(ctx: RequestContext, raw: { nodeId: string; pciAddress: string; count: number }): Promise<Sriov> {
    requireRole(ctx.identity, "operator");
    const nodeId = checkId("nodeId", raw.nodeId);
    const pciAddress = checkPciAddress("pciAddress", raw.pciAddress);
    const count = checkInteger("count", raw.count, 0, MAX_VFS);
    const { store, peers, directory } = this.#parts;
    knownNode(directory, nodeId);
    const by = claimant(ctx.identity);
    await store.checkReservation({ nodeId, device: deviceKey({ kind: "PCI", at: pciAddress }) }, by);
    const sriov = await peers.setVfs(ctx, nodeId, pciAddress, count);
    ctx.log.info({ nodeId, pciAddress, count, by: by.name }, "virtual functions were set");
    return sriov;
  }

  /** From then on only the caller and admins attach it; an instance that has it keeps it. */
  async reserve(ctx: RequestContext, raw: { nodeId: string; note?: string | null } & RawDevice): Promise<DeviceReservation> {
    requireRole(ctx.identity, "operator");
    const place = checkDevicePlace(raw);
    const nodeId = checkId("nodeId", raw.nodeId);
    const note = checkName("note", raw.note?.trim(), MAX_NOTE);
    knownNode(this.#parts.directory, nodeId);
    await this.#requireReported(ctx, nodeId, place);
    const by = claimant(ctx.identity);
    const reservation = await this.#parts.store.reserve({ nodeId, device: deviceKey(place) }, note, by);
    ctx.log.info({ nodeId, device: deviceKey(place), note, by: by.name }, "a device was reserved");
    return reservation;
  }

  /** Of the caller's own reservation; admins release any. False where there was none. */
  async release(ctx: RequestContext, raw: { nodeId: string } & RawDevice): Promise<boolean> {
    requireRole(ctx.identity, "operator");
    const where = { nodeId: checkId("nodeId", raw.nodeId), device: deviceKey(checkDevicePlace(raw)) };
    const by = claimant(ctx.identity);
    const released = await this.#parts.store.release(where, by);
    if (released) ctx.log.info({ ...where, by: by.name }, "a device is no longer reserved");
    return released;
  }

  async #placement(ctx: RequestContext, instanceId: string): Promise<Placement> {
    return await this.#parts.peers.placement(ctx, checkId("instanceId", instanceId));
  }

  /** What is noted of another instance may be out of date: its agent is asked before it counts. */
  async #claim(ctx: RequestContext, where: NodeDevice, { instanceId }: Placement, by: Claimant): Promise<Claimed> {
    const { store, settling } = this.#parts;
    try {
      return await store.claim(where, instanceId, by);
    } catch (error) {
      if (FleetError.from(error).reason !== "InUse" || !(await settling.settleOne(ctx, where))) throw error;
      return await store.claim(where, instanceId, by);
    }
  }

  async #requireReported(ctx: RequestContext, nodeId: string, { kind, at }: DevicePlace): Promise<void> {
    const { inventory } = this.#parts;
    const has =
      kind === "PCI"
        ? (await inventory.read(ctx, "PCI", [nodeId]))[0]?.content.devices.some(({ address }) => address === at)
        : (await inventory.read(ctx, "USB", [nodeId]))[0]?.content.devices.some(({ port }) => port === at);
    if (has === true) return;
    if (has === false) throw notFound("Device", at);
    throw new FleetError("UNAVAILABLE", "The node has not told its devices yet.", { reason: "NotReportedYet", details: { nodeId } });
  }
}

function claimant(identity: Identity | null): Claimant {
  return { name: identity === null ? "" : callerName(identity), isAdmin: hasRole(identity, "admin") };
}

function nameOf({ kind, at }: DevicePlace, ids: { vendorId: number; productId: number }): DeviceName {
  return kind === "PCI" ? { pciAddress: at, usb: undefined } : { pciAddress: "", usb: { port: at, ...ids } };
}
