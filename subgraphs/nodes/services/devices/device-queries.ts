import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AttachedDevice } from "../../../../schema/generated/proto/hypervisor/v1/devices.ts";
import { unavailableReason } from "../../../kit/agents/node-record.ts";
import type { DeviceReservation } from "../../entities/device-reservation.ts";
import type { DevicePeers } from "./device-peers.ts";
import type { DeviceStore } from "./device-store.ts";
import { type AssignmentState, deviceKeyOf, type InstanceDeviceView, placeOf } from "./device-types.ts";

interface ShownAssignment {
  nodeId: string;
  device: string;
  state: AssignmentState;
  requestedBy: string;
}

/** What an agent says that an instance has, or why it says nothing. */
type Told = { value: readonly AttachedDevice[] } | { refusal: FleetError };

/** Whose devices are. Rights: viewer. */
export class DeviceQueries {
  readonly #store: DeviceStore;
  readonly #peers: DevicePeers;

  constructor(store: DeviceStore, peers: DevicePeers) {
    this.#store = store;
    this.#peers = peers;
  }

  /** By device, in the order of the nodes. */
  async reservations(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<Map<string, DeviceReservation>>> {
    requireRole(ctx.identity, "viewer");
    const found = await this.#store.reservationsOf(nodeIds);
    return nodeIds.map((id) => new Map(found.filter(({ nodeId }) => nodeId === id).map((one) => [one.device, one])));
  }

  /** In the order of the instances. Agents are asked for those that have something. */
  async devicesOf(ctx: RequestContext, instanceIds: readonly string[]): Promise<InstanceDeviceView[][]> {
    requireRole(ctx.identity, "viewer");
    const rows = await this.#store.ofInstances(instanceIds);
    const told = new Map<string, Promise<Told>>();
    for (const { nodeId, instanceId } of rows) {
      const key = `${nodeId} ${instanceId}`;
      if (!told.has(key)) told.set(key, this.#ask(ctx, nodeId, instanceId));
    }
    const views = await Promise.all(
      rows.map(async (row) => {
        const answer = await told.get(`${row.nodeId} ${row.instanceId}`);
        return { instanceId: row.instanceId, view: assignmentView(row, answer ?? { value: [] }) };
      }),
    );
    return instanceIds.map((id) => views.filter(({ instanceId }) => instanceId === id).map(({ view }) => view));
  }

  async #ask(ctx: RequestContext, nodeId: string, instanceId: string): Promise<Told> {
    try {
      return { value: await this.#peers.list(ctx, nodeId, instanceId) };
    } catch (error) {
      ctx.signal.throwIfAborted();
      return { refusal: FleetError.from(error) };
    }
  }
}

export function assignmentView({ nodeId, device, state, requestedBy }: ShownAssignment, told: Told): InstanceDeviceView {
  const { kind, at } = placeOf(device);
  const shown = { nodeId, kind, pciAddress: kind === "PCI" ? at : null, usbPort: kind === "USB" ? at : null, state, requestedBy };
  if ("refusal" in told) {
    const { message } = told.refusal;
    const why = (field: string) => ({ field, reason: unavailableReason(told.refusal), message });
    return { ...shown, model: null, plugged: null, unavailable: [why("model"), why("plugged")] };
  }
  const found = told.value.find((one) => deviceKeyOf(one.device) === device);
  // What is being attached or detached is not told yet, or no more.
  if (found === undefined) return { ...shown, model: null, plugged: false, unavailable: [] };
  return { ...shown, model: found.model || null, plugged: found.plugged, unavailable: [] };
}
