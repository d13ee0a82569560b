import type { EventPayload } from "../../libvirt/protocol/event-table.ts";
import { DOMAIN_EVENT_DETAILS } from "../../libvirt/values.ts";
import { type Condition, stopReason } from "./domain-state.ts";

/** A condition with what is said to people about it. */
export interface Told extends Condition {
  message: string;
}

interface Remembered {
  /** Why it stopped, the last time. */
  stop: Told | null;
  /** While it stands still because of a disk. */
  ioError: string;
  startedAt: Date | null;
  /** The agent asked for a stop since it was started. */
  stopRequested: boolean;
}

/**
 * What libvirt's events said of domains and its state does not, or not for long: a daemon that starts anew knows no reasons. One entry for
 * each domain that there is.
 */
export class DomainMemory {
  readonly #domains = new Map<string, Remembered>();

  onLifecycle({ dom, event, detail }: EventPayload<"domainLifecycle">): void {
    switch (event) {
      case "STARTED": {
        // One that was saved is brought on to be stopped.
        const stopRequested = DOMAIN_EVENT_DETAILS.STARTED[detail] === "RESTORED" && this.#of(dom.uuid).stopRequested;
        this.#domains.set(dom.uuid, { stop: null, ioError: "", startedAt: new Date(), stopRequested });
        return;
      }
      case "RESUMED":
        this.#of(dom.uuid).ioError = "";
        return;
      case "STOPPED": {
        const remembered = this.#of(dom.uuid);
        const reason = stopReason(detail);
        remembered.stop = reason && { ...reason, message: "" };
        remembered.ioError = "";
        remembered.startedAt = null;
        return;
      }
      case "UNDEFINED":
        this.forget(dom.uuid);
        return;
      default:
        return;
    }
  }

  onIoError({ dom, srcPath, action, reason }: EventPayload<"domainIoErrorReason">): void {
    if (action !== "PAUSE") return;
    const file = srcPath.slice(srcPath.lastIndexOf("/") + 1);
    const why = reason === "enospc" ? "there is no space left on the host" : "the host cannot read or write it";
    this.#of(dom.uuid).ioError = `The disk ${file} failed: ${why}. The guest stands still; start it again when that is repaired.`;
  }

  onStopRequested(uuid: string): void {
    this.#of(uuid).stopRequested = true;
  }

  onStartFailed(uuid: string, message: string): void {
    this.#of(uuid).stop = { state: "FAILED", reason: "FAILED_TO_START", message };
  }

  startedAt(uuid: string): Date | null {
    return this.#domains.get(uuid)?.startedAt ?? null;
  }

  /** What libvirt says now, and what is remembered besides. */
  tell(uuid: string, now: Condition): Told {
    const remembered = this.#domains.get(uuid);
    if (remembered === undefined) return { ...now, message: "" };
    const { stop, ioError, stopRequested } = remembered;
    if (now.reason === "IO_ERROR") return { ...now, message: ioError };
    if (now.state === "RUNNING" || now.state === "PAUSED") return { ...now, message: "" };
    const known = stop !== null && (now.reason === "UNKNOWN" || now.reason === stop.reason) ? stop : { ...now, message: "" };
    const isOurs = stopRequested && (known.reason === "GUEST_SHUTDOWN" || known.reason === "DESTROYED");
    return isOurs ? { ...known, reason: "REQUESTED" } : known;
  }

  forget(uuid: string): void {
    this.#domains.delete(uuid);
  }

  /** Forgets all but these. */
  keep(uuids: ReadonlySet<string>): void {
    for (const uuid of this.#domains.keys()) if (!uuids.has(uuid)) this.#domains.delete(uuid);
  }

  #of(uuid: string): Remembered {
    let remembered = this.#domains.get(uuid);
    if (remembered === undefined) {
      remembered = { stop: null, ioError: "", startedAt: null, stopRequested: false };
      this.#domains.set(uuid, remembered);
    }
    return remembered;
  }
}
