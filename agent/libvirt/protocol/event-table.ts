import { type Codec, enumeration, type Fields, int, optionalString, type StructOutput, string, struct, uhyper } from "./codec.ts";
import { LIMITS } from "./limits.ts";
import { domain, network, nodeDevice, storagePool } from "./structures.ts";
import type { ProcedureName } from "./table.ts";
import { typedParameters } from "./typed-parameters.ts";

/** How events of one kind of object are asked for. */
export const EVENT_GROUPS = {
  domain: { register: "connectDomainEventCallbackRegisterAny", deregister: "connectDomainEventCallbackDeregisterAny" },
  network: { register: "connectNetworkEventRegisterAny", deregister: "connectNetworkEventDeregisterAny" },
  storagePool: { register: "connectStoragePoolEventRegisterAny", deregister: "connectStoragePoolEventDeregisterAny" },
  nodeDevice: { register: "connectNodeDeviceEventRegisterAny", deregister: "connectNodeDeviceEventDeregisterAny" },
} as const satisfies Record<string, { register: ProcedureName; deregister: ProcedureName }>;

export type EventGroup = keyof typeof EVENT_GROUPS;

export interface EventKind<Payload> {
  readonly group: EventGroup;
  /** What it is registered by, within its group. */
  readonly eventId: number;
  /** The procedure number that it comes with. */
  readonly number: number;
  /** What stands before the fields that are said: the callback's id, and for some one more number. */
  readonly skippedInts: number;
  readonly payload: Codec<Payload, unknown>;
}

function kind<F extends Fields>(
  group: EventGroup,
  eventId: number,
  number: number,
  fields: F,
  skippedInts = 1,
): EventKind<StructOutput<F>> {
  return { group, eventId, number, skippedInts, payload: struct(fields) };
}

const dom = domain;
const device = { dom, devAlias: string };
const ioErrorAction = enumeration(["NONE", "PAUSE", "REPORT"]);
const objectEvent = ["DEFINED", "UNDEFINED", "STARTED", "STOPPED"] as const;

/** Every event that can be listened to. To add one, add an entry: its group, its two numbers, its fields after the callback's id. */
export const EVENTS = {
  /** `detail` is an index of DOMAIN_EVENT_DETAILS[event]. */
  domainLifecycle: kind("domain", 0, 318, {
    dom,
    event: enumeration(["DEFINED", "UNDEFINED", "STARTED", "SUSPENDED", "RESUMED", "STOPPED", "SHUTDOWN", "PMSUSPENDED", "CRASHED"]),
    detail: int,
  }),
  domainReboot: kind("domain", 1, 319, { dom }),
  domainWatchdog: kind("domain", 3, 321, {
    dom,
    action: enumeration(["NONE", "PAUSE", "RESET", "POWEROFF", "SHUTDOWN", "DEBUG", "INJECTNMI"]),
  }),
  domainIoError: kind("domain", 4, 322, { dom, srcPath: string, devAlias: string, action: ioErrorAction }),
  /** `reason` is empty or "enospc". */
  domainIoErrorReason: kind("domain", 6, 324, { dom, srcPath: string, devAlias: string, action: ioErrorAction, reason: string }),
  /** The daemon lost the hypervisor's monitor. */
  domainControlError: kind("domain", 7, 325, { dom }),
  domainTrayChange: kind("domain", 10, 328, { dom, devAlias: string, reason: enumeration(["OPEN", "CLOSE"]) }),
  domainPmWakeup: kind("domain", 11, 329, { dom }, 2),
  domainPmSuspend: kind("domain", 12, 330, { dom }, 2),
  /** In KiB. */
  domainBalloonChange: kind("domain", 13, 331, { dom, actual: uhyper }),
  domainDeviceRemoved: kind("domain", 15, 333, device),
  domainBlockJob: kind("domain", 16, 339, {
    dom,
    /** The disk's target, such as vda. */
    dst: string,
    type: enumeration(["UNKNOWN", "PULL", "COPY", "COMMIT", "ACTIVE_COMMIT", "BACKUP"]),
    status: enumeration(["COMPLETED", "FAILED", "CANCELED", "READY"]),
  }),
  domainTunable: kind("domain", 17, 346, { dom, params: typedParameters(LIMITS.guestParameters) }),
  domainAgentLifecycle: kind("domain", 18, 348, {
    dom,
    state: enumeration(["UNKNOWN", "CONNECTED", "DISCONNECTED"]),
    reason: enumeration(["UNKNOWN", "DOMAIN_STARTED", "CHANNEL"]),
  }),
  domainDeviceAdded: kind("domain", 19, 354, device),
  /** Counts the passes over the guest's memory. */
  domainMigrationIteration: kind("domain", 20, 359, { dom, iteration: int }),
  domainJobCompleted: kind("domain", 21, 363, { dom, params: typedParameters(LIMITS.jobParameters) }),
  domainDeviceRemovalFailed: kind("domain", 22, 367, device),
  domainMetadataChange: kind("domain", 23, 379, { dom, type: enumeration(["DESCRIPTION", "TITLE", "ELEMENT"]), nsuri: optionalString }),

  networkLifecycle: kind("network", 0, 315, { net: network, event: enumeration(objectEvent), detail: int }),
  storagePoolLifecycle: kind("storagePool", 0, 370, {
    pool: storagePool,
    event: enumeration([...objectEvent, "CREATED", "DELETED"]),
    detail: int,
  }),
  storagePoolRefresh: kind("storagePool", 1, 373, { pool: storagePool }),
  nodeDeviceLifecycle: kind("nodeDevice", 0, 376, {
    dev: nodeDevice,
    event: enumeration(["CREATED", "DELETED", "DEFINED", "UNDEFINED"]),
    detail: int,
  }),
  nodeDeviceUpdate: kind("nodeDevice", 1, 377, { dev: nodeDevice }),
};

export type EventName = keyof typeof EVENTS;
export type EventPayload<E extends EventName> = (typeof EVENTS)[E] extends EventKind<infer Payload> ? Payload : never;
