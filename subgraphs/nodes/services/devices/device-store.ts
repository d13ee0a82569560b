import { LockMode } from "@mikro-orm/core";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { EntityManager, Store } from "../../../kit/store/orm.ts";
import { DeviceAssignment } from "../../entities/device-assignment.ts";
import { DeviceReservation } from "../../entities/device-reservation.ts";
import { type AssignmentState, placeOf } from "./device-types.ts";

export interface NodeDevice {
  nodeId: string;
  device: string;
}

/** Who asks. Admins are held by no reservation. */
export interface Claimant {
  name: string;
  isAdmin: boolean;
}

/** What the assignment was before; null: there was none. */
export type Claimed = { before: AssignmentState | null };

/** Assignments and reservations of devices. */
export class DeviceStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Notes that the instance is to have it. Throws FAILED_PRECONDITION (DeviceReserved; InUse where another instance has it, with `usedBy`). */
  async claim(where: NodeDevice, instanceId: string, by: Claimant): Promise<Claimed> {
    return this.#store.transaction(async ({ em }) => {
      await refuseReserved(em, where, by);
      const row = { ...where, instanceId, kind: placeOf(where.device).kind, state: "ATTACHING" as const, requestedBy: by.name };
      const query = em.createQueryBuilder(DeviceAssignment).insert({ ...row, changedAt: Date.now() });
      const { affectedRows } = (await query.onConflict().ignore().execute()) as { affectedRows: number };
      const found = await em.findOneOrFail(DeviceAssignment, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (found.instanceId !== instanceId) throw inUse(found);
      if (affectedRows > 0) return { before: null };
      const before = found.state;
      Object.assign(found, { state: "ATTACHING", requestedBy: by.name, changedAt: Date.now() });
      return { before };
    });
  }

  /** The instance's row, where it has one; false where it has none. */
  async mark(where: NodeDevice, instanceId: string, state: AssignmentState): Promise<boolean> {
    return this.#store.transaction(
      async ({ em }) => (await em.nativeUpdate(DeviceAssignment, { ...where, instanceId }, { state, changedAt: Date.now() })) > 0,
    );
  }

  async drop(where: NodeDevice, instanceId: string): Promise<void> {
    await this.#store.transaction(({ em }) => em.nativeDelete(DeviceAssignment, { ...where, instanceId }));
  }

  /** Does nothing where it was changed since it was read. `state` null drops it. */
  async settle({ nodeId, device, changedAt }: DeviceAssignment, state: AssignmentState | null): Promise<void> {
    const where = { nodeId, device, changedAt };
    await this.#store.transaction(({ em }) =>
      state === null
        ? em.nativeDelete(DeviceAssignment, where)
        : em.nativeUpdate(DeviceAssignment, where, { state, changedAt: Date.now() }),
    );
  }

  find(where: NodeDevice): Promise<DeviceAssignment | null> {
    return this.#store.read((em) => em.findOne(DeviceAssignment, where));
  }

  ofInstances(instanceIds: readonly string[]): Promise<DeviceAssignment[]> {
    const order = { orderBy: { nodeId: "asc", device: "asc" } } as const;
    return this.#store.read((em) => em.find(DeviceAssignment, { instanceId: { $in: [...instanceIds] } }, order));
  }

  /** Those that nothing has changed since, by node, at most `limit` behind `after`. */
  unchangedSince(before: number, after: NodeDevice, limit: number): Promise<DeviceAssignment[]> {
    const behind = { $or: [{ nodeId: { $gt: after.nodeId } }, { nodeId: after.nodeId, device: { $gt: after.device } }] };
    const order = { orderBy: { nodeId: "asc", device: "asc" }, limit } as const;
    return this.#store.read((em) => em.find(DeviceAssignment, { changedAt: { $lt: before }, ...behind }, order));
  }

  /** Throws FAILED_PRECONDITION (DeviceReserved). */
  async checkReservation(where: NodeDevice, by: Claimant): Promise<void> {
    await this.#store.read((em) => refuseReserved(em, where, by));
  }

  /** Whoever has reserved it already may change the note. Throws FAILED_PRECONDITION (DeviceReserved). */
  async reserve(where: NodeDevice, note: string | null, by: Claimant): Promise<DeviceReservation> {
    return this.#store.transaction(async ({ em }) => {
      await refuseReserved(em, where, by);
      const row = { ...where, note, reservedBy: by.name, reservedAt: new Date() };
      await em.createQueryBuilder(DeviceReservation).insert(row).onConflict().ignore().execute();
      const found = await em.findOneOrFail(DeviceReservation, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (!mayUse(found, by)) throw reserved(found);
      return Object.assign(found, { note });
    });
  }

  /** False where there was none. Throws FAILED_PRECONDITION (DeviceReserved) for one of somebody else's. */
  async release(where: NodeDevice, by: Claimant): Promise<boolean> {
    return this.#store.transaction(async ({ em }) => {
      const found = await em.findOne(DeviceReservation, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (found === null) return false;
      if (!mayUse(found, by)) throw reserved(found);
      em.remove(found);
      return true;
    });
  }

  reservationsOf(nodeIds: readonly string[]): Promise<DeviceReservation[]> {
    return this.#store.read((em) => em.find(DeviceReservation, { nodeId: { $in: [...nodeIds] } }));
  }

  async nodesWithReservations(limit: number): Promise<string[]> {
    const rows = await this.#store.read((em) =>
      em.execute<Array<{ node_id: string }>>("select distinct node_id from device_reservation order by node_id limit ?", [limit]),
    );
    return rows.map(({ node_id }) => node_id);
  }

  async dropReservations(nodeId: string): Promise<void> {
    await this.#store.transaction(({ em }) => em.nativeDelete(DeviceReservation, { nodeId }));
  }
}

async function refuseReserved(em: EntityManager, where: NodeDevice, by: Claimant): Promise<void> {
  const found = await em.findOne(DeviceReservation, where);
  if (found !== null && !mayUse(found, by)) throw reserved(found);
}

function mayUse({ reservedBy }: DeviceReservation, { name, isAdmin }: Claimant): boolean {
  return isAdmin || reservedBy === name;
}

function reserved({ nodeId, device, note, reservedBy }: DeviceReservation): FleetError {
  const message = `The device is reserved by ${reservedBy}${note === null ? "" : ` (${note})`}: only they and admins may use it.`;
  return new FleetError("FAILED_PRECONDITION", message, { reason: "DeviceReserved", details: { nodeId, device, reservedBy, note } });
}

function inUse({ nodeId, device, instanceId }: DeviceAssignment): FleetError {
  const message = `The device is ${instanceId}'s: detach it there first.`;
  return new FleetError("FAILED_PRECONDITION", message, { reason: "InUse", details: { nodeId, device, usedBy: instanceId } });
}
