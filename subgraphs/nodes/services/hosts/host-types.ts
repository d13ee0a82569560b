import { FleetError } from "../../../../platform/errors/fleet-error.ts";

export const HOST_KINDS = ["COMPUTE", "STORAGE", "HYBRID"] as const;
export type HostKind = (typeof HOST_KINDS)[number];

/**
 * PROBING: an agent tries to reach it. REGISTERING: one did, and it becomes a node. READY: it is one. REMOVING: it is being taken away.
 * What is not READY is gone on with by whichever replica, also after a restart.
 */
export type HostState = "PROBING" | "REGISTERING" | "READY" | "REMOVING";

/** How somebody signs in on a host. They are kept sealed, and opened only for the agent that uses them. */
export interface HostCredentials {
  password: string | null;
  /** OpenSSH or PEM. */
  privateKey: string | null;
  passphrase: string | null;
}

/** JSON. */
export type HostSettings = {
  region: string | null;
  zone: string | null;
  labels: Record<string, string>;
  /** What the first contact found; null before. */
  probed: {
    capacity: { cpuCores: number; memoryBytes: number; diskBytes: number; gpuCount: number };
    supportedInstanceTypes: string[];
    /** A node of the agent's own machine. */
    agentNodeId: string;
  } | null;
};

/** Where an addition can fail: at the first four before the host was reached. */
export const ADDITION_STEPS = ["AGENT", "RESOLVE", "CONNECT", "HOST_KEY", "AUTHENTICATE", "LIBVIRT", "HARDWARE", "REGISTER"] as const;
export type AdditionStep = (typeof ADDITION_STEPS)[number];

/** The stream of the event log that wakes whoever follows a list of bridged hosts. Its objects name whose the host is and was, and no secret. */
export const BRIDGED_HOST_STREAM = "bridged-hosts";
export type BridgedHostNotice = { agentIds: string[] };

/** libvirt's id of a machine and of its boot: clones share the first, never both. */
export interface Machine {
  hostUuid: string | null;
  bootId: string | null;
}

/** What a run is told that another one has replaced. */
export function hostClaimLost(): FleetError {
  return new FleetError("CONFLICT", "Another replica goes on with this host.", { reason: "HostClaimLost" });
}

export function sameHost(field: string, nodeId: string | null): FleetError {
  return new FleetError("ALREADY_EXISTS", "This machine is in the fleet already: the same libvirt host, and the same boot of it.", {
    reason: "SameHost",
    details: { field, ...(nodeId === null ? {} : { id: nodeId }) },
  });
}

export function hostnameTaken(hostname: string): FleetError {
  return new FleetError("ALREADY_EXISTS", `The hostname ${hostname} is held by another host.`, {
    reason: "HostnameTaken",
    details: { field: "hostname", hostname },
  });
}
