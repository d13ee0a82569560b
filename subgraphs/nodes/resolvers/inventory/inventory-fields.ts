import { NodeAcceleratorsResolver } from "./node-accelerators.ts";
import { NodeDevicesResolver } from "./node-devices.ts";
import { NodeHardwareResolver } from "./node-hardware.ts";
import { NodeHardwareEventsResolver } from "./node-hardware-events.ts";
import { NETWORK_FIELDS } from "./node-network.ts";

/** What this subgraph tells of a node's inventory. */
export const INVENTORY_FIELDS = [
  NodeHardwareResolver,
  NodeDevicesResolver,
  ...NETWORK_FIELDS,
  NodeAcceleratorsResolver,
  NodeHardwareEventsResolver,
] as const;
