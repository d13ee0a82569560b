import { DOMAIN_EVENT_DETAILS, DOMAIN_STATE_REASONS, DOMAIN_STATES, type DomainState } from "../../libvirt/values.ts";
import type { NativeState } from "../instance-driver.ts";

/** What a domain is, in the drivers' words. */
export interface Condition {
  state: NativeState;
  reason: string;
}

type Table = { readonly [S in DomainState]: { readonly [R in (typeof DOMAIN_STATE_REASONS)[S][number] | "otherwise"]?: Condition } };

const running = (reason: string): Condition => ({ state: "RUNNING", reason });
const paused = (reason: string): Condition => ({ state: "PAUSED", reason });
const stopping = (reason: string): Condition => ({ state: "STOPPING", reason });
const stopped = (reason: string): Condition => ({ state: "STOPPED", reason });
const failed = (reason: string): Condition => ({ state: "FAILED", reason });

/**
 * libvirt's states and reasons. A pause that nobody asked for, because the guest cannot go on, is a failure. SHUTOFF without a reason is a
 * domain that was not started since it was defined, or since libvirt's daemon was.
 */
const CONDITIONS: Table = {
  NOSTATE: { otherwise: stopped("UNKNOWN") },
  RUNNING: {
    BOOTED: running("STARTED"),
    RESTORED: running("STARTED"),
    FROM_SNAPSHOT: running("FROM_SNAPSHOT"),
    UNPAUSED: running("RESUMED"),
    WAKEUP: running("RESUMED"),
    MIGRATED: running("MIGRATED"),
    // The guest's kernel panicked, and the domain is told to go on.
    CRASHED: failed("CRASHED"),
    otherwise: running("STARTED"),
  },
  BLOCKED: { otherwise: running("STARTED") },
  PAUSED: {
    USER: paused("REQUESTED"),
    IOERROR: failed("IO_ERROR"),
    WATCHDOG: failed("WATCHDOG"),
    CRASHED: failed("CRASHED"),
    POSTCOPY_FAILED: failed("MIGRATION_FAILED"),
    // What a start goes through before the guest's first instruction.
    STARTING_UP: running("STARTING"),
    SHUTTING_DOWN: stopping("REQUESTED"),
    MIGRATION: paused("MIGRATING"),
    POSTCOPY: paused("MIGRATING"),
    SAVE: paused("SAVING"),
    DUMP: paused("DUMPING"),
    SNAPSHOT: paused("SNAPSHOT"),
    FROM_SNAPSHOT: paused("FROM_SNAPSHOT"),
    otherwise: paused("UNKNOWN"),
  },
  SHUTDOWN: { otherwise: stopping("GUEST_SHUTDOWN") },
  SHUTOFF: {
    SHUTDOWN: stopped("GUEST_SHUTDOWN"),
    DESTROYED: stopped("DESTROYED"),
    CRASHED: failed("CRASHED"),
    FAILED: failed("FAILED_TO_START"),
    DAEMON: failed("LOST"),
    SAVED: stopped("SAVED"),
    MIGRATED: stopped("MIGRATED"),
    FROM_SNAPSHOT: stopped("FROM_SNAPSHOT"),
    otherwise: stopped("UNKNOWN"),
  },
  CRASHED: { otherwise: failed("CRASHED") },
  PMSUSPENDED: { otherwise: paused("GUEST_SUSPENDED") },
};

const UNKNOWN = paused("UNKNOWN");

/** From the numbers of `domainGetState` and of the statistics. */
export function conditionOf(state: number, reason: number): Condition {
  const name = DOMAIN_STATES[state];
  if (name === undefined) return UNKNOWN;
  const reasons: Record<string, Condition | undefined> = CONDITIONS[name];
  return reasons[DOMAIN_STATE_REASONS[name][reason] ?? ""] ?? reasons["otherwise"] ?? UNKNOWN;
}

/** Whether the domain has a hypervisor process: it can be destroyed, and not started. */
export function isActive(state: number): boolean {
  const name = DOMAIN_STATES[state];
  return name !== undefined && name !== "NOSTATE" && name !== "SHUTOFF" && name !== "CRASHED";
}

/**
 * Why a domain stopped, from its event's detail. "FAILED" is what libvirt says when the hypervisor's process ended without a word, which is
 * a crash for those who had it running.
 */
export function stopReason(detail: number): Condition | null {
  switch (DOMAIN_EVENT_DETAILS.STOPPED[detail]) {
    case "SHUTDOWN":
      return stopped("GUEST_SHUTDOWN");
    case "DESTROYED":
      return stopped("DESTROYED");
    case "CRASHED":
    case "FAILED":
      return failed("CRASHED");
    case "SAVED":
      return stopped("SAVED");
    case "MIGRATED":
      return stopped("MIGRATED");
    case "FROM_SNAPSHOT":
      return stopped("FROM_SNAPSHOT");
    default:
      return null;
  }
}
