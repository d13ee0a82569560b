import { checkId, checkInteger, checkName } from "../../../kit/input-checks.ts";
import type { Migration, RawMigration } from "./migration-types.ts";

const MAX_DOWNTIME_MS = 60_000;
/** Below this nothing ever arrives. */
const MIN_BANDWIDTH = 65_536;

/** Throws INVALID_ARGUMENT that names the field. */
export function checkMigrationInput(raw: RawMigration): Migration {
  const { targetNodeId, maxDowntimeMs, bandwidthBytesPerSecond } = raw;
  return {
    instanceId: checkId("instanceId", raw.instanceId),
    targetNodeId: targetNodeId ? checkId("targetNodeId", targetNodeId) : null,
    maxDowntimeMs: maxDowntimeMs ? checkInteger("maxDowntimeMs", maxDowntimeMs, 1, MAX_DOWNTIME_MS) : 0,
    bandwidthBytesPerSecond: bandwidthBytesPerSecond
      ? checkInteger("bandwidthBytesPerSecond", bandwidthBytesPerSecond, MIN_BANDWIDTH, Number.MAX_SAFE_INTEGER)
      : 0,
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
  };
}
