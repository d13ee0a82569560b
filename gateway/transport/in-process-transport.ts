import type { ExecutionResult } from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { SubgraphHandler, SubgraphRequest } from "../../platform/subgraph-handler.ts";
import type { GatewayLimits } from "../limits.ts";
import { Admission } from "./admission.ts";
import { abortable, Deadline } from "./deadline.ts";
import { cancelled, faultResult, lateAnswer, unavailable } from "./faults.ts";
import type { SubgraphTransport } from "./subgraph-transport.ts";

/** A subgraph in this process, under the same bounds as one that is elsewhere. */
export class InProcessTransport implements SubgraphTransport {
  readonly name: string;
  readonly #handler: SubgraphHandler;
  readonly #limits: GatewayLimits;
  readonly #log: Logger;
  readonly #admission: Admission;

  constructor(name: string, handler: SubgraphHandler, limits: GatewayLimits, log: Logger) {
    this.name = name;
    this.#handler = handler;
    this.#limits = limits;
    this.#log = log;
    this.#admission = new Admission(`the subgraph ${JSON.stringify(name)}`, limits.subgraphInFlight, limits.subgraphWaiting);
  }

  async execute(request: SubgraphRequest): Promise<ExecutionResult> {
    const deadlineMs = request.deadlineMs ?? this.#limits.operationMs;
    using deadline = new Deadline(deadlineMs, request.signal);
    try {
      return await this.#admission.run(deadline.signal, () =>
        abortable(this.#handler.execute({ ...request, deadlineMs, signal: deadline.signal }), deadline.signal),
      );
    } catch (error) {
      if (deadline.expired) return faultResult(lateAnswer(this.name));
      if (deadline.signal.aborted) return faultResult(cancelled());
      if (error instanceof FleetError) return faultResult(error);
      this.#log.error({ subgraph: this.name, requestId: request.headers["x-request-id"], err: error }, "a subgraph threw");
      return faultResult(unavailable(this.name, "failed", error));
    }
  }

  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult> {
    return this.#handler.subscribe(request);
  }

  async unreachable(deadlineMs: number): Promise<string | null> {
    const answer = await this.execute({ query: "{ __typename }", headers: {}, deadlineMs });
    const fault = answer.errors?.find((error) => error.extensions?.subgraph === this.name);
    return fault ? fault.message : null;
  }

  async close(): Promise<void> {}
}
