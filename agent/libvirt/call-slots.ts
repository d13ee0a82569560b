import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Priority } from "./protocol/procedure.ts";

/** A call that waits for its turn. */
export interface WaitingCall {
  readonly priority: Priority;
  /** Of its message. */
  readonly bytes: number;
  send(): void;
}

export interface CallSlotLimits {
  /**
   * Calls that the daemon has at once. libvirtd takes `max_client_requests` of one connection, 5 unless configured otherwise, counts the
   * message that it is reading as one of them, and beyond that reads nothing any more, pings included. So: one less.
   */
  inFlight: number;
  /** Of these, for calls of high priority alone: a guest that does not answer must not keep a list from being read. */
  reserved: number;
  waiting: number;
  waitingBytes: number;
}

export const CALL_SLOT_LIMITS: CallSlotLimits = { inFlight: 4, reserved: 1, waiting: 10_000, waitingBytes: 64 * 1024 * 1024 };

/** Decides which calls of one connection are sent, and when: in order within a priority, the high one first. */
export class CallSlots {
  readonly #limits: CallSlotLimits;
  readonly #queues: Record<Priority, Set<WaitingCall>> = { high: new Set(), low: new Set() };
  readonly #inFlight: Record<Priority, number> = { high: 0, low: 0 };
  #waitingBytes = 0;

  constructor(limits: CallSlotLimits = CALL_SLOT_LIMITS) {
    this.#limits = limits;
  }

  /** Sends the call now or later. Throws RESOURCE_EXHAUSTED when too many wait. */
  add(call: WaitingCall): void {
    if (this.#queues[call.priority].size === 0 && this.#hasPlace(call.priority)) {
      this.#send(call);
      return;
    }
    const { waiting, waitingBytes } = this.#limits;
    if (this.#queues.high.size + this.#queues.low.size >= waiting || this.#waitingBytes + call.bytes > waitingBytes) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many calls wait for libvirt's daemon.", { reason: "LibvirtOverloaded" });
    }
    this.#queues[call.priority].add(call);
    this.#waitingBytes += call.bytes;
  }

  /** False for a call that is not waiting: it was sent. */
  remove(call: WaitingCall): boolean {
    const removed = this.#queues[call.priority].delete(call);
    if (removed) this.#waitingBytes -= call.bytes;
    return removed;
  }

  /** The daemon has answered a call of this priority. */
  release(priority: Priority): void {
    this.#inFlight[priority] -= 1;
    for (const next of ["high", "low"] as const) {
      for (const call of this.#queues[next]) {
        if (!this.#hasPlace(next)) break;
        this.remove(call);
        this.#send(call);
      }
    }
  }

  #hasPlace(priority: Priority): boolean {
    const { high, low } = this.#inFlight;
    const { inFlight, reserved } = this.#limits;
    return high + low < inFlight && (priority === "high" || low < inFlight - reserved);
  }

  #send(call: WaitingCall): void {
    this.#inFlight[call.priority] += 1;
    call.send();
  }
}
