import { FleetError } from "../../platform/errors/fleet-error.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { systemContext } from "../../platform/request-context.ts";
import { takeStep } from "../../subgraphs/nodes/services/operations/operation-steps.ts";
import type {
  NodeMaintenance,
  OperationPeers,
  OperationProgress,
  OperationRecord,
} from "../../subgraphs/nodes/services/operations/operation-types.ts";
import { DEFAULT_OPERATIONS_CONFIG } from "../../subgraphs/nodes/services/operations/operations-config.ts";

type Method = keyof OperationPeers;

export interface OperatedInstance {
  state: "RUNNING" | "STOPPING" | "STOPPED" | "MOVED";
  movable: boolean;
  /** How often it was started again. */
  starts: number;
}

const ctx = systemContext("test", new AbortController().signal, createLogger({ name: "test", level: "silent" }));

/** A node with its host, its instances and its row in the fleet, as the peers of an operation show them; time is a number. */
export class OperatedNode implements OperationPeers {
  now = 1_000_000;
  node: NodeMaintenance | null = { maintenance: false, reason: null };
  instances: OperatedInstance[] = [];
  boot = 1;
  isUp = true;
  /** What the host does with an order: comes back, stays away, stays up, refuses. */
  manner: "returns" | "stays away" | "stays up" | "refuses" = "returns";
  /** How long it is away, in milliseconds. */
  awayMs = 30_000;
  powerCycles = 0;
  removed = 0;
  /** Throws instead of the method, or after it did its work; by a test. */
  disturb: (method: Method, done: boolean) => void = () => undefined;
  readonly #taken = new Map<string, number>();
  #backAt = 0;

  async maintenance(): Promise<NodeMaintenance | null> {
    return this.#call("maintenance", () => this.node && { ...this.node });
  }

  async setMaintenance(_ctx: unknown, _nodeId: string, maintenance: NodeMaintenance): Promise<void> {
    return this.#call("setMaintenance", () => {
      this.node = { ...maintenance };
    });
  }

  async count(): Promise<{ running: number; unmanagedRunning: number }> {
    return this.#call("count", () => ({ running: this.#running().length, unmanagedRunning: 0 }));
  }

  async evacuate(_ctx: unknown, { instances: policy, maxParallel }: OperationRecord, cancel: boolean): Promise<OperationProgress> {
    return this.#call("evacuate", () => {
      // What was begun by the call before is done by now.
      for (const one of this.instances) if (one.state === "STOPPING") one.state = "STOPPED";
      const going = this.#running().filter(({ movable }) => movable);
      if (!cancel) for (const one of going.slice(0, maxParallel)) one.state = policy === "STOP" ? "STOPPING" : "MOVED";
      const stuck = this.#running().filter(({ movable }) => !movable);
      const stopping = this.instances.filter(({ state }) => state === "STOPPING").length;
      return {
        total: this.instances.length,
        done: this.instances.filter(({ state }) => state === "MOVED" || state === "STOPPED").length,
        underWay: stopping,
        remaining: stopping + this.#running().filter(({ movable }) => movable).length,
        failures: stuck.map((_one, index) => ({ instanceId: `inst-${index}`, name: "stuck", reason: "NotMovable", message: "It stays." })),
      };
    });
  }

  async restore(): Promise<OperationProgress> {
    return this.#call("restore", () => {
      for (const one of this.instances) {
        if (one.state !== "STOPPED" && one.state !== "STOPPING") continue;
        one.state = "RUNNING";
        one.starts += 1;
      }
      return { total: this.instances.length, done: this.instances.length, underWay: 0, remaining: 0, failures: [] };
    });
  }

  async power() {
    return this.#call("power", () => {
      this.#requireUp();
      const operationId = [...this.#taken].find(([, boot]) => boot === this.boot)?.[0] ?? "";
      return { ...this.#state(), operationId };
    });
  }

  async order(_ctx: unknown, { id, bootId }: OperationRecord): Promise<void> {
    return this.#call("order", () => {
      this.#requireUp();
      if (bootId !== `boot-${this.boot}`) throw new FleetError("FAILED_PRECONDITION", "Another boot.", { reason: "AnotherBoot" });
      if (this.manner === "refuses") throw new FleetError("FAILED_PRECONDITION", "Not allowed.", { reason: "PowerNotAllowed" });
      if (this.#taken.get(id) === this.boot) return;
      this.#taken.set(id, this.boot);
      if (this.manner === "stays up") return;
      if (this.#running().length > 0) throw new Error("The host goes down under running instances.");
      this.isUp = false;
      this.powerCycles += 1;
      this.#backAt = this.manner === "returns" ? this.now + this.awayMs : Number.POSITIVE_INFINITY;
    });
  }

  async remove(): Promise<void> {
    return this.#call("remove", () => {
      this.removed += 1;
      this.node = null;
    });
  }

  pass(milliseconds: number): void {
    this.now += milliseconds;
    if (this.isUp || this.now < this.#backAt) return;
    this.isUp = true;
    this.boot += 1;
  }

  /** Takes steps to the operation's end. `crashAt`: what that step led to is lost, and it is taken again. Gives what ended, and the phases on the way. */
  async run(operation: OperationRecord, crashAt = -1, each: (operation: OperationRecord, step: number) => void = () => undefined) {
    const phases: string[] = [operation.phase];
    const current = { ...operation };
    for (let step = 0; current.state === "RUNNING"; step += 1) {
      if (step > 2_000) throw new Error(`It does not end: ${JSON.stringify(current)}`);
      each(current, step);
      const { pauseMs, ...change } = await takeStep(ctx, { ...current }, { peers: this, config: DEFAULT_OPERATIONS_CONFIG, now: this.now });
      this.pass(Math.max(50, pauseMs));
      if (step === crashAt) continue;
      Object.assign(current, change);
      if (phases.at(-1) !== current.phase) phases.push(current.phase);
    }
    return { ...current, phases };
  }

  #call<T>(method: Method, work: () => T): T {
    this.disturb(method, false);
    const result = work();
    this.disturb(method, true);
    return result;
  }

  #running(): OperatedInstance[] {
    return this.instances.filter(({ state }) => state === "RUNNING" || state === "STOPPING");
  }

  #requireUp(): void {
    if (!this.isUp) throw new FleetError("UNAVAILABLE", "The node's agent cannot be reached.", { reason: "AgentUnreachable" });
  }

  #state() {
    return { bootId: `boot-${this.boot}`, bootedAt: undefined, canReboot: true, canShutDown: true, reason: "", message: "" };
  }
}

/** One that was just stored. */
export function newOperation(more: Partial<OperationRecord> = {}): OperationRecord {
  return {
    id: "op-1",
    nodeId: "node-1",
    kind: "REBOOT",
    state: "RUNNING",
    phase: "PREPARING",
    instances: "REFUSE",
    maxParallel: 2,
    reason: "new kernel",
    requestedBy: "an admin",
    deadlineMs: 600_000,
    cancelRequested: false,
    bootId: null,
    ordered: false,
    formerMaintenance: null,
    formerReason: null,
    progress: null,
    waitingFor: null,
    outcome: null,
    errorCode: null,
    errorReason: null,
    errorMessage: null,
    phaseUntil: 1_000_000 + DEFAULT_OPERATIONS_CONFIG.preparingMs,
    silentSince: null,
    failures: 0,
    ...more,
  };
}

export function instance(more: Partial<OperatedInstance> = {}): OperatedInstance {
  return { state: "RUNNING", movable: true, starts: 0, ...more };
}
