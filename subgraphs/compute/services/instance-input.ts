import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { checkId, checkInteger, checkListLength, checkName, checkOneOf, checkStringMap } from "../../kit/input-checks.ts";
import {
  type Creation,
  INSTANCE_STATES,
  INSTANCE_TYPES,
  type InstanceFilter,
  PLACEMENT_STRATEGIES,
  type Resize,
  type StringMap,
} from "./instance-types.ts";
import { checkCores, checkDiskSize, checkMemory, checkSpec, type RawSpec } from "./spec-input.ts";
import type { RequestOptions } from "./state-machine.ts";

/** What a face hands over: its shape is right, its values are not checked. Enums without prefix; null or undefined where not given. */
export interface RawCreation {
  name: string;
  type?: string | null;
  spec?: RawSpec | null;
  labels?: StringMap | null;
  annotations?: StringMap | null;
  preferredNodeId?: string | null;
  region?: string | null;
  zone?: string | null;
  nodeLabels?: StringMap | null;
  antiAffinityLabel?: string | null;
  placementStrategy?: string | null;
  stopped?: boolean | null;
  clientRequestId?: string | null;
}

export interface RawFilter {
  ids?: readonly string[] | null;
  type?: string | null;
  state?: string | null;
  nodeId?: string | null;
  name?: string | null;
  labels?: StringMap | null;
  managed?: boolean | null;
  includeDeleted?: boolean | null;
}

/** What is null or left out stays; so does 0, which is how gRPC leaves out. */
export interface RawResize {
  cpuCores?: number | null;
  memoryBytes?: number | null;
  disks?: ReadonlyArray<{ name: string; sizeBytes: number }> | null;
}

export interface RawRequestOptions {
  force?: boolean | null;
  timeoutSeconds?: number | null;
}

const MAX_NAME = 253;
const MAX_LABEL_BYTES = 16_384;
const MAX_ANNOTATION_BYTES = 65_536;
/** Ids that one filter may name, and labels. */
const MAX_IDS = 1_000;
const MAX_FILTER_LABELS = 20;
const MAX_STOP_SECONDS = 3_600;

export function checkCreation(raw: RawCreation): Creation {
  const name = checkName("name", raw.name, MAX_NAME);
  if (name === null) throw invalidArgument("name", "A name is needed.");
  const type = checkOneOf("type", raw.type, INSTANCE_TYPES);
  const labels = checkStringMap("labels", raw.labels ?? {}, MAX_LABEL_BYTES);
  const antiAffinityLabel = checkName("antiAffinityLabel", raw.antiAffinityLabel, MAX_NAME);
  if (antiAffinityLabel !== null && labels[antiAffinityLabel] === undefined) {
    throw invalidArgument("antiAffinityLabel", "The instance itself needs this label: its value is what is compared.");
  }
  return {
    name,
    type,
    ...checkSpec(raw.spec, type),
    labels,
    annotations: checkStringMap("annotations", raw.annotations ?? {}, MAX_ANNOTATION_BYTES),
    preferredNodeId: checkName("preferredNodeId", raw.preferredNodeId),
    region: checkName("region", raw.region),
    zone: checkName("zone", raw.zone),
    nodeLabels: checkStringMap("nodeLabels", raw.nodeLabels ?? {}, MAX_LABEL_BYTES),
    antiAffinityLabel,
    strategy: raw.placementStrategy ? checkOneOf("placementStrategy", raw.placementStrategy, PLACEMENT_STRATEGIES) : null,
    stopped: raw.stopped ?? false,
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
  };
}

export function checkFilter(raw: RawFilter | null | undefined): InstanceFilter {
  const ids = raw?.ids ?? [];
  checkListLength("filter.ids", ids, MAX_IDS);
  for (const id of ids) checkId("filter.ids", id);
  const labels = Object.entries(checkStringMap("filter.labels", raw?.labels ?? {}, MAX_LABEL_BYTES));
  checkListLength("filter.labels", labels, MAX_FILTER_LABELS);
  return {
    ids,
    type: raw?.type ? checkOneOf("filter.type", raw.type, INSTANCE_TYPES) : null,
    state: raw?.state ? checkOneOf("filter.state", raw.state, INSTANCE_STATES) : null,
    nodeId: checkName("filter.nodeId", raw?.nodeId),
    name: checkName("filter.name", raw?.name, MAX_NAME)?.toLowerCase() ?? null,
    labels,
    managed: raw?.managed ?? null,
    includeDeleted: raw?.includeDeleted ?? false,
  };
}

/** The filter of a watch: what is deleted is not watched, its end is an event of the others. */
export function checkWatchFilter(raw: RawFilter | null | undefined): InstanceFilter {
  const filter = checkFilter(raw);
  if (filter.includeDeleted) throw invalidArgument("filter.includeDeleted", "Deleted instances have no events.");
  if (filter.state === "DELETED")
    throw invalidArgument("filter.state", "Deleted instances have no events; the end of others is a DELETED.");
  return filter;
}

export function checkResize(raw: RawResize): Resize {
  const disks = raw.disks ?? [];
  checkListLength("disks", disks, 16);
  const names = new Set<string>();
  const resize: Resize = {
    cpuCores: raw.cpuCores ? checkCores("cpuCores", raw.cpuCores) : undefined,
    memoryBytes: raw.memoryBytes ? checkMemory("memoryBytes", raw.memoryBytes) : undefined,
    disks: disks.map(({ name, sizeBytes }, index) => {
      if (names.has(name)) throw invalidArgument(`disks[${index}].name`, "Each name may occur once.");
      names.add(name);
      return { name, sizeBytes: checkDiskSize(`disks[${index}].sizeBytes`, sizeBytes) };
    }),
  };
  if (resize.cpuCores === undefined && resize.memoryBytes === undefined && disks.length === 0) {
    throw invalidArgument("cpuCores", "Something to change is needed: cpuCores, memoryBytes or disks.");
  }
  return resize;
}

export function checkRequestOptions({ force, timeoutSeconds }: RawRequestOptions): RequestOptions {
  return {
    force: force ?? false,
    stopTimeoutSeconds: checkInteger("timeoutSeconds", timeoutSeconds ?? 0, 0, MAX_STOP_SECONDS),
  };
}
