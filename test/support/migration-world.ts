import { FleetError } from "../../platform/errors/fleet-error.ts";
import type {
  BeginSourceRequest,
  BeginSourceResponse,
  CheckDestinationRequest,
  CheckDestinationResponse,
  ConfirmSourceRequest,
  ConfirmSourceResponse,
  DescribeSourceRequest,
  DescribeSourceResponse,
  FinishDestinationRequest,
  FinishDestinationResponse,
  InspectMigrationRequest,
  InspectMigrationResponse,
  MigrationCheck,
  MigrationProgress,
  PerformSourceRequest,
  PrepareDestinationRequest,
  PrepareDestinationResponse,
} from "../../schema/generated/proto/hypervisor/v1/migration.ts";

/** What a host has of an instance. */
export interface Copy {
  nodeId: string;
  instanceId: string;
  generation: number;
  state: "INCOMING" | "RUNNING" | "PAUSED" | "STOPPED";
  /** All of the guest's memory is here. */
  complete: boolean;
}

/**
 * The hosts of migrations as their hypervisors have them, and what their agents answer: the truth that a test compares with. Which copies run is
 * written down with every change: two at once is a violation, whatever becomes of it.
 */
export class MigrationWorld {
  readonly copies: Copy[] = [];
  readonly violations: string[] = [];
  readonly tickets = new Set<string>();
  /** Of each agent; gone with it. */
  readonly #attempts = new Set<string>();
  /** Of CheckDestination, by node. */
  readonly checks = new Map<string, MigrationCheck[]>();
  /** Awaited in the middle of each copy. */
  onCopy: (signal: AbortSignal) => Promise<void> = async () => undefined;
  onChange: (copy: Copy) => void = () => undefined;

  /** Puts a guest on a host, as its creation does. */
  place(nodeId: string, instanceId: string, generation: number): void {
    this.copies.push({ nodeId, instanceId, generation, state: "RUNNING", complete: true });
  }

  of(instanceId: string): Copy[] {
    return this.copies.filter((copy) => copy.instanceId === instanceId);
  }

  at(nodeId: string, instanceId: string): Copy | undefined {
    return this.copies.find((copy) => copy.nodeId === nodeId && copy.instanceId === instanceId);
  }

  remove(nodeId: string, instanceId: string): void {
    const index = this.copies.findIndex((copy) => copy.nodeId === nodeId && copy.instanceId === instanceId);
    if (index >= 0) this.copies.splice(index, 1);
  }

  /** With it go its attempts and its connection to the hypervisor, which gives up what waits for a guest. */
  killAgent(nodeId: string): void {
    for (const key of [...this.#attempts]) if (key.startsWith(`${nodeId} `)) this.#attempts.delete(key);
    for (const copy of [...this.copies]) if (copy.nodeId === nodeId && copy.state === "INCOMING") this.remove(nodeId, copy.instanceId);
  }

  /** The agent of one node. */
  agent(nodeId: string): MigrationAgent {
    return new MigrationAgent(this, nodeId);
  }

  set(copy: Copy, state: Copy["state"]): void {
    const runs = this.of(copy.instanceId).find((other) => other !== copy && other.state === "RUNNING");
    if (state === "RUNNING" && runs) this.violations.push(`${copy.instanceId} runs on ${copy.nodeId} and on ${runs.nodeId}`);
    copy.state = state;
    this.onChange(copy);
  }

  knows(nodeId: string, migrationId: string): boolean {
    return this.#attempts.has(`${nodeId} ${migrationId}`);
  }

  note(nodeId: string, migrationId: string): void {
    this.#attempts.add(`${nodeId} ${migrationId}`);
  }

  forget(nodeId: string, migrationId: string): void {
    this.#attempts.delete(`${nodeId} ${migrationId}`);
  }
}

/** What one agent answers, as migration.proto says. */
export class MigrationAgent {
  readonly #world: MigrationWorld;
  readonly #nodeId: string;

  constructor(world: MigrationWorld, nodeId: string) {
    this.#world = world;
    this.#nodeId = nodeId;
  }

  async describeSource({ instanceId, generation }: DescribeSourceRequest): Promise<DescribeSourceResponse> {
    const copy = this.#own(instanceId);
    if (copy?.generation !== generation) throw new FleetError("NOT_FOUND", "There is no such instance here.");
    return { description: "{}", probeName: "probe", failed: [] };
  }

  async checkDestination(_request: CheckDestinationRequest): Promise<CheckDestinationResponse> {
    const checks = this.#world.checks.get(this.#nodeId) ?? [{ name: "CpuBaseline", passed: true, message: "" }];
    return { checks, copiesDisks: false, bytesToCopy: 0 };
  }

  async beginSource({ instanceId, migrationId }: BeginSourceRequest): Promise<BeginSourceResponse> {
    if (this.#own(instanceId)?.state !== "RUNNING") throw new FleetError("FAILED_PRECONDITION", "It does not run here.");
    this.#world.note(this.#nodeId, migrationId);
    return { sourceCookie: "begun", domainXml: "<domain/>", persistentXml: "<domain/>" };
  }

  async prepareDestination(request: PrepareDestinationRequest): Promise<PrepareDestinationResponse> {
    const { instanceId, migrationId, generation, ticket, sourceCookie } = request;
    const answer = { cookie: "prepared", destination: "{}" };
    if (this.#world.knows(this.#nodeId, migrationId)) return answer;
    if (sourceCookie !== "begun" || ticket.length < 32) throw new FleetError("INVALID_ARGUMENT", "A cookie and a ticket are needed.");
    if (this.#own(instanceId)) throw new FleetError("FAILED_PRECONDITION", "There is one of it here already.");
    this.#world.tickets.add(ticket);
    this.#world.note(this.#nodeId, migrationId);
    this.#world.copies.push({ nodeId: this.#nodeId, instanceId, generation, state: "INCOMING", complete: false });
    return answer;
  }

  async *performSource(request: PerformSourceRequest, signal: AbortSignal): AsyncGenerator<MigrationProgress> {
    const { instanceId, migrationId, destinationNodeId, ticket } = request;
    const copy = this.#own(instanceId);
    const target = () => this.#world.at(destinationNodeId, instanceId);
    const frame = (phase: string, currentBytes: number, cookie = "") => ({ phase, currentBytes, totalBytes: 100, cookie });
    if (!this.#world.knows(this.#nodeId, migrationId)) throw new FleetError("FAILED_PRECONDITION", "This attempt was not begun here.");
    if (copy?.state === "PAUSED" && target()?.complete) return yield frame("done", 100, "performed");
    if (copy?.state !== "RUNNING" || target()?.state !== "INCOMING" || !this.#world.tickets.has(ticket)) {
      throw new FleetError("FAILED_PRECONDITION", "Nobody waits for the guest.");
    }
    yield frame("memory", 42);
    await this.#world.onCopy(signal);
    signal.throwIfAborted();
    const waiting = target();
    if (waiting?.state !== "INCOMING" || this.#own(instanceId) !== copy) throw new FleetError("CONFLICT", "The connection was lost.");
    this.#world.set(copy, "PAUSED");
    waiting.complete = true;
    yield frame("done", 100, "performed");
  }

  async finishDestination(request: FinishDestinationRequest): Promise<FinishDestinationResponse> {
    const { instanceId, migrationId, cancelled, generation } = request;
    const copy = this.#own(instanceId);
    const isIt = copy?.generation === generation;
    if (isIt && copy.state === "RUNNING") return { running: true, cookie: "finished", nativeId: `native-${instanceId}` };
    if (cancelled) {
      this.#world.forget(this.#nodeId, migrationId);
      if (isIt) this.#world.remove(this.#nodeId, instanceId);
      return { running: false, cookie: "", nativeId: "" };
    }
    if (!isIt || copy.state !== "INCOMING" || !copy.complete || !this.#world.knows(this.#nodeId, migrationId)) {
      throw new FleetError("FAILED_PRECONDITION", "This attempt is not known here.");
    }
    this.#world.set(copy, "RUNNING");
    return { running: true, cookie: "finished", nativeId: `native-${instanceId}` };
  }

  async confirmSource(request: ConfirmSourceRequest): Promise<ConfirmSourceResponse> {
    const { instanceId, migrationId, cancelled, generation } = request;
    const copy = this.#own(instanceId);
    this.#world.forget(this.#nodeId, migrationId);
    if (copy?.generation !== generation) return { running: false };
    if (!cancelled && copy.state === "PAUSED") this.#world.remove(this.#nodeId, instanceId);
    else if (cancelled && copy.state === "PAUSED") this.#world.set(copy, "RUNNING");
    return { running: this.#own(instanceId)?.state === "RUNNING" };
  }

  async inspectMigration({ instanceId, migrationId }: InspectMigrationRequest): Promise<InspectMigrationResponse> {
    const copy = this.#own(instanceId);
    const attemptKnown = this.#world.knows(this.#nodeId, migrationId);
    return { state: copy?.state ?? "ABSENT", generation: copy?.generation ?? 0, attemptKnown };
  }

  #own(instanceId: string): Copy | undefined {
    return this.#world.at(this.#nodeId, instanceId);
  }
}
