import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { periodically } from "../../../kit/periodic.ts";
import type { Store } from "../../../kit/store/orm.ts";
import type { InventoryReads } from "../inventory/inventory-reads.ts";
import { DevicePeers, type DevicePeersParts } from "./device-peers.ts";
import { DeviceQueries } from "./device-queries.ts";
import { DeviceRequests } from "./device-requests.ts";
import { DeviceSettling } from "./device-settling.ts";
import { DeviceStore } from "./device-store.ts";

export interface DeviceServicesParts extends DevicePeersParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  store: Store;
  directory: AgentDirectory;
  inventory: InventoryReads;
}

const ROUND_MS = 60_000;

/** Devices of hosts and their instances, wired together. */
export class DeviceServices {
  readonly requests: DeviceRequests;
  readonly queries: DeviceQueries;
  readonly settling: DeviceSettling;
  readonly #ctx: RequestContext;

  constructor({ ctx, store, directory, inventory, ...callees }: DeviceServicesParts) {
    const devices = new DeviceStore(store);
    const peers = new DevicePeers(callees);
    this.#ctx = ctx;
    this.settling = new DeviceSettling({ store: devices, peers, inventory, directory });
    this.queries = new DeviceQueries(devices, peers);
    this.requests = new DeviceRequests({ store: devices, peers, settling: this.settling, inventory, directory });
  }

  /** Until the context's signal. */
  run(): Promise<void> {
    return periodically(this.#ctx, "settling the devices of instances", ROUND_MS, () => this.settling.round(this.#ctx));
  }
}
