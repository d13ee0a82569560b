import type { DesiredState, InstanceState, InstanceType } from "./instance-types.ts";

/** What can be asked of an instance. */
export const REQUESTS = ["start", "stop", "restart", "suspend", "resume", "resize", "delete", "adopt"] as const;
export type InstanceRequest = (typeof REQUESTS)[number];

/** What decides about a request, beside the state. */
export interface StateFacts {
  state: InstanceState;
  desiredState: DesiredState | null;
  stateReason: string | null;
  type: InstanceType;
  made: boolean;
  managed: boolean;
  /** Whether the request that is under way was one by force. */
  force: boolean;
}

/** The conditions of the table, by the words that it uses for them. `asked`: whether this request is one by force. */
export const CONDITIONS = {
  "it was never made": ({ made }: StateFacts) => !made,
  "it was made": ({ made }: StateFacts) => made,
  "it is not MISSING": ({ stateReason }: StateFacts) => stateReason !== MISSING,
  "it is a container": ({ type }: StateFacts) => type === "CONTAINER",
  "it is being suspended": ({ desiredState }: StateFacts) => desiredState === "SUSPENDED",
  "it is being deleted": ({ desiredState }: StateFacts) => desiredState === "DELETED",
  "it is not being deleted": ({ desiredState }: StateFacts) => desiredState !== "DELETED",
  "by force": (_facts: StateFacts, asked: boolean) => asked,
  "force adds nothing": ({ force }: StateFacts, asked: boolean) => !asked || force,
} as const satisfies Record<string, (facts: StateFacts, asked: boolean) => boolean>;

export type Condition = keyof typeof CONDITIONS;

/** Gone from the host by somebody else's hand. */
export const MISSING = "MISSING";

/** One row: what a request leads to in a state. What has no row is refused. */
export interface StateRow {
  request: InstanceRequest;
  from: InstanceState;
  /** All have to hold. The first row that fits counts. */
  when: readonly Condition[];
  /** What is shown at once; "same": as before, until the host tells. */
  to: InstanceState | "same";
  /** What the agent is told; "same": as before; "nothing": it is told nothing, for it knows already; "observed": what it is now. */
  desired: DesiredState | "same" | "nothing" | "observed";
}

type From = InstanceState | readonly InstanceState[];

function rows(request: InstanceRequest, from: From, to: StateRow["to"], desired: StateRow["desired"], when: Condition[] = []): StateRow[] {
  return [from].flat().map((state) => ({ request, from: state, when, to, desired }));
}

const FOUND = ["RUNNING", "STOPPED", "SUSPENDED", "STARTING", "STOPPING", "RESTARTING", "CREATING", "ERROR"] as const;

/** The one table of what may be asked when. Adoption is for instances that are not managed, all else for those that are. */
export const STATE_TABLE: readonly StateRow[] = [
  ...rows("start", "STOPPED", "STARTING", "RUNNING"),
  ...rows("start", "ERROR", "CREATING", "RUNNING", ["it was never made", "it is not being deleted"]),
  ...rows("start", "ERROR", "STARTING", "RUNNING", ["it was made", "it is not MISSING", "it is not being deleted"]),

  ...rows("stop", ["RUNNING", "STARTING", "RESTARTING", "SUSPENDED"], "STOPPING", "STOPPED"),
  ...rows("stop", "ERROR", "STOPPING", "STOPPED", ["it was made", "it is not MISSING", "it is not being deleted"]),
  ...rows("stop", "STOPPING", "STOPPING", "STOPPED", ["by force", "it is not being deleted"]),

  ...rows("restart", "RUNNING", "RESTARTING", "RUNNING"),

  ...rows("suspend", "RUNNING", "same", "SUSPENDED"),
  ...rows("resume", "SUSPENDED", "same", "RUNNING"),
  ...rows("resume", "RUNNING", "same", "RUNNING", ["it is being suspended"]),

  ...rows("resize", "STOPPED", "same", "same"),
  ...rows("resize", "RUNNING", "same", "same", ["it is a container"]),

  ...rows("delete", "STOPPING", "same", "nothing", ["it is being deleted", "force adds nothing"]),
  ...rows("delete", ["CREATING", "RUNNING", "STOPPED", "STOPPING", "STARTING", "RESTARTING", "SUSPENDED", "ERROR"], "STOPPING", "DELETED"),

  ...rows("adopt", FOUND, "same", "observed"),
];

/** A change that is under way, by what is seen of it. */
export interface Interruption {
  /** The state that is shown, and what is wanted. */
  state: InstanceState;
  desired: DesiredState;
  controlPlane: string;
  agent: string;
  hypervisor: string;
}

const TOLD_AGAIN = "The request is in the database: the agent is told again until it has it.";
const PLANS_ANEW = "What is wanted is on its disk: it compares with what is there, and goes on.";

/** What a crash in the middle leads to. Every row ends in the state that was wanted, or in ERROR with the reason. */
export const INTERRUPTIONS: readonly Interruption[] = [
  {
    state: "CREATING",
    desired: "RUNNING",
    controlPlane: TOLD_AGAIN,
    agent: "What is half made is completed, or undone and made again.",
    hypervisor: "It is waited for; then as after a crash of the agent.",
  },
  {
    state: "STARTING",
    desired: "RUNNING",
    controlPlane: TOLD_AGAIN,
    agent: PLANS_ANEW,
    hypervisor: "It is waited for; a guest that does not run is started.",
  },
  {
    state: "RUNNING",
    desired: "RUNNING",
    controlPlane: "Nothing: what happened meanwhile comes with the next report.",
    agent: "Nothing: what happened meanwhile comes with its first, full report.",
    hypervisor: "A guest that died with it is STOPPED or ERROR; after a reboot of the host it is started again.",
  },
  {
    state: "STOPPING",
    desired: "STOPPED",
    controlPlane: TOLD_AGAIN,
    agent: "The guest is asked again, and gets its time anew.",
    hypervisor: "A guest that died with it is stopped.",
  },
  {
    state: "RESTARTING",
    desired: "RUNNING",
    controlPlane: TOLD_AGAIN,
    agent: "It knows which restart it has carried out, and carries each out once.",
    hypervisor: "A guest that died with it is started.",
  },
  {
    state: "RUNNING",
    desired: "SUSPENDED",
    controlPlane: TOLD_AGAIN,
    agent: PLANS_ANEW,
    hypervisor: "A guest that died with it is STOPPED or ERROR.",
  },
  {
    state: "SUSPENDED",
    desired: "RUNNING",
    controlPlane: TOLD_AGAIN,
    agent: PLANS_ANEW,
    hypervisor: "A guest that died with it is STOPPED or ERROR.",
  },
  {
    state: "STOPPING",
    desired: "DELETED",
    controlPlane: TOLD_AGAIN,
    agent: "What is left of it is removed.",
    hypervisor: "It is waited for; what is left is removed. Until nothing is, the reservation stays.",
  },
];
