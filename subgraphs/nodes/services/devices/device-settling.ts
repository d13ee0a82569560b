import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { DeviceAssignment } from "../../entities/device-assignment.ts";
import type { InventoryReads } from "../inventory/inventory-reads.ts";
import { CHANGE_MS, type DevicePeers } from "./device-peers.ts";
import type { DeviceStore, NodeDevice } from "./device-store.ts";
import { deviceKeyOf, placeOf } from "./device-types.ts";

export interface DeviceSettlingParts {
  store: DeviceStore;
  peers: Pick<DevicePeers, "list">;
  inventory: Pick<InventoryReads, "read" | "presence">;
  directory: Pick<AgentDirectory, "get" | "synced">;
}

/** By then whoever wrote an assignment has confirmed it, or is gone. */
const QUIET_MS = CHANGE_MS + 30_000;
const PAGE = 200;
const MOST_NODES = 10_000;
const NOBODY = new Set(["NOT_FOUND"]);

/**
 * Assignments become what the hosts say: those that were left half done by a crash or a lost answer, and those whose device is not the instance's any
 * more by the node's inventory (the instance was deleted, or somebody changed its domain). The agent is asked before anything is changed.
 */
export class DeviceSettling {
  readonly #parts: DeviceSettlingParts;

  constructor(parts: DeviceSettlingParts) {
    this.#parts = parts;
  }

  /** One round over all that nothing changed for `quietMs`; several replicas may do the same. */
  async round(ctx: RequestContext, quietMs = QUIET_MS): Promise<void> {
    const { store } = this.#parts;
    let after: NodeDevice = { nodeId: "", device: "" };
    for (;;) {
      const rows = await store.unchangedSince(Date.now() - quietMs, after, PAGE);
      for (const row of rows) if (!ctx.signal.aborted && (await this.#isDoubtful(ctx, row))) await this.#settle(ctx, row);
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE || ctx.signal.aborted) break;
      after = last;
    }
    await this.#dropReservations();
  }

  /** One that is in another caller's way: true where it is gone now. */
  async settleOne(ctx: RequestContext, where: NodeDevice): Promise<boolean> {
    const { store } = this.#parts;
    const row = await store.find(where);
    if (row === null) return true;
    if (row.state !== "ATTACHED" && row.changedAt > Date.now() - QUIET_MS) return false;
    await this.#settle(ctx, row);
    return (await store.find(where)) === null;
  }

  /** The inventory is enough to believe that all is as it was. */
  async #isDoubtful(ctx: RequestContext, { nodeId, device, instanceId, state, changedAt }: DeviceAssignment): Promise<boolean> {
    const { inventory } = this.#parts;
    if (state !== "ATTACHED" || inventory.presence(nodeId).state === "absent") return true;
    const { kind, at } = placeOf(device);
    const [stored] = await inventory.read(ctx, kind, [nodeId]);
    if (!stored || stored.observedAt.getTime() < changedAt) return false;
    const user =
      "controllers" in stored.content
        ? stored.content.devices.find(({ port }) => port === at)?.user
        : stored.content.devices.find((one) => "address" in one && one.address === at)?.user;
    return user?.instanceId !== instanceId;
  }

  async #settle(ctx: RequestContext, row: DeviceAssignment): Promise<void> {
    const { store, peers, directory } = this.#parts;
    const { nodeId, device, instanceId } = row;
    if (directory.get(nodeId) === undefined) {
      if (directory.synced) await store.settle(row, null);
      return;
    }
    try {
      const has = (await peers.list(ctx, nodeId, instanceId)).some((one) => deviceKeyOf(one.device) === device);
      await store.settle(row, has ? "ATTACHED" : null);
      if (!has) ctx.log.info({ nodeId, device, instanceId }, "the instance does not have the device any more");
    } catch (thrown) {
      const error = FleetError.from(thrown);
      // The host has nothing of the instance; whoever is away is asked in a later round.
      if (NOBODY.has(error.code) || error.reason === "InstanceMissing") await store.settle(row, null);
    }
  }

  async #dropReservations(): Promise<void> {
    const { store, directory } = this.#parts;
    for (const nodeId of await store.nodesWithReservations(MOST_NODES)) {
      if (directory.synced && directory.get(nodeId) === undefined) await store.dropReservations(nodeId);
    }
  }
}
