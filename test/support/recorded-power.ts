import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { PowerAgentServiceDefinition, type PowerRequest, type PowerState } from "../../schema/generated/proto/hypervisor/v1/power.ts";

/** What it needs of the agent that it belongs to. */
interface PoweredAgent {
  readonly host: Map<string, { state: InstanceState }>;
  start(): Promise<void>;
  kill(): Promise<void>;
}

/** PowerAgentService of a recorded agent, whose host goes down with it: what runs there is lost. */
export class RecordedPower {
  readonly orders: Array<{ kind: "reboot" | "shutdown" } & PowerRequest> = [];
  bootId: string = randomUUID();
  /** Why it refuses; empty: it does not. */
  reason = "";
  /** How many guests went down with the host. */
  lost = 0;
  /** Resolves when the host may come back; a test may hold it. */
  mayReturn: Promise<unknown> = Promise.resolve();
  #away: Promise<void> = Promise.resolve();
  readonly #agent: PoweredAgent;

  constructor(agent: PoweredAgent) {
    this.#agent = agent;
  }

  /** Somebody on site. */
  async switchOn(): Promise<void> {
    await this.#away;
    this.bootId = randomUUID();
    await this.#agent.start();
  }

  service(): GrpcService {
    return grpcService(PowerAgentServiceDefinition, {
      getPower: async () => this.#state(),
      reboot: async (request) => this.#order("reboot", request),
      shutdown: async (request) => this.#order("shutdown", request),
    });
  }

  #state(): PowerState {
    const may = this.reason === "";
    const operationId = this.orders.findLast(({ bootId }) => bootId === this.bootId)?.operationId ?? "";
    return {
      bootId: this.bootId,
      bootedAt: new Date(),
      canReboot: may,
      canShutDown: may,
      reason: this.reason,
      message: this.reason,
      operationId,
    };
  }

  #order(kind: "reboot" | "shutdown", request: PowerRequest): PowerState {
    if (request.bootId !== this.bootId) throw new FleetError("FAILED_PRECONDITION", "Another boot.", { reason: "AnotherBoot" });
    if (this.reason !== "") throw new FleetError("FAILED_PRECONDITION", "Not here.", { reason: this.reason });
    const isNew = this.#state().operationId !== request.operationId;
    if (isNew) this.orders.push({ kind, ...request });
    if (isNew) this.#away = this.#goDown(kind);
    return this.#state();
  }

  async #goDown(kind: "reboot" | "shutdown"): Promise<void> {
    // The answer is on its way first.
    await sleep(20);
    await this.#agent.kill();
    for (const native of this.#agent.host.values()) {
      if (native.state !== InstanceState.STOPPED) this.lost += 1;
      native.state = InstanceState.STOPPED;
    }
    if (kind === "shutdown") return;
    await this.mayReturn;
    this.bootId = randomUUID();
    await this.#agent.start();
  }
}
