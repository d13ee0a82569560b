import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Role } from "../../platform/auth/identity.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { systemContext } from "../../platform/request-context.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import { InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { type NodesSubgraph, startNodesSubgraph } from "../../subgraphs/nodes/main.ts";
import { DEFAULT_OPERATIONS_CONFIG, type OperationsConfig } from "../../subgraphs/nodes/services/operations/operations-config.ts";
import type { ComputeControlPlane } from "./compute-control-plane.ts";
import { temporaryDatabases } from "./temporary-databases.ts";
import { until } from "./until.ts";

const QUICK: OperationsConfig = {
  ...DEFAULT_OPERATIONS_CONFIG,
  leaseMs: 3_000,
  stepMs: 2_500,
  sweepMs: 50,
  pollMs: 50,
  longestPauseMs: 100,
  silentMs: 500,
};

const OPERATION =
  "id kind state phase progress { total done remaining failures { name reason } } error { code reason message } waitingFor requestedBy";

/** What a test sees of an operation. */
export interface SeenOperation {
  id: string;
  kind: string;
  state: string;
  phase: string;
  progress: { total: number; done: number; remaining: number; failures: Array<{ name: string; reason: string }> } | null;
  error: { code: string; reason: string; message: string } | null;
  waitingFor: string | null;
  requestedBy: string;
}

/** The nodes subgraph, in any number of replicas, beside a compute control plane: both real, and so are the sockets between them. */
export class OperatedFleet {
  readonly #plane: ComputeControlPlane;
  readonly #databaseUrl: string;
  readonly #directory: string;
  readonly #bus = new InProcessBus();
  #replica: NodesSubgraph | null = null;

  private constructor(plane: ComputeControlPlane, databaseUrl: string, directory: string) {
    this.#plane = plane;
    this.#databaseUrl = databaseUrl;
    this.#directory = directory;
  }

  /** Closed with the plane's agents. */
  static async open(plane: ComputeControlPlane): Promise<OperatedFleet> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-operations-"));
    plane.agents.keep(directory, () => rm(directory, { recursive: true, force: true }));
    let databaseUrl = `sqlite:${join(directory, "nodes.db")}`;
    if (plane.variant !== "SQLite") {
      const databases = await temporaryDatabases(["nodes"]);
      plane.agents.keep(databases, () => databases.drop());
      databaseUrl = databases.urls.nodes;
    }
    return new OperatedFleet(plane, databaseUrl, directory);
  }

  /** Another replica; the last one is asked. */
  async start(): Promise<NodesSubgraph> {
    const { agents, clustersAddress, replica, issuer } = this.#plane;
    const subgraph = await startNodesSubgraph({
      databaseUrl: this.#databaseUrl,
      bus: this.#bus,
      clustersAddress,
      computeAddress: replica.agentAddress,
      credentials: () => ({ ...agents.control, caPem: agents.ca.certificatePem }),
      verifier: issuer.verifier(),
      secrets: await SecretKeys.open(join(this.#directory, "secrets")),
      log: agents.log,
      metrics: new Metrics(),
      config: { operations: QUICK },
    });
    agents.keep(subgraph, () => subgraph.stop(0));
    this.#replica = subgraph;
    await until(() => subgraph.ready(), "the nodes to be known");
    return subgraph;
  }

  get replica(): NodesSubgraph {
    if (this.#replica === null) throw new Error("No replica was started.");
    return this.#replica;
  }

  async execute(role: Role, query: string, variables: Record<string, unknown> = {}) {
    return this.replica.handler.execute({ query, variables, headers: await this.#plane.headers(role) });
  }

  // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
  async ask(role: Role, query: string, variables: Record<string, unknown> = {}): Promise<any> {
    const { data, errors } = await this.execute(role, query, variables);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** A mutation by its name; `result` is what it answers or refuses with. */
  async change(name: string, input: Record<string, unknown>, role: Role = "admin", selection = `operation { ${OPERATION} }`) {
    const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input!`;
    return this.execute(role, `mutation ($input: ${type}) { ${name}(input: $input) { ${selection} } }`, { input });
  }

  async begin(name: string, input: Record<string, unknown>, role: Role = "admin"): Promise<SeenOperation> {
    const { data, errors } = await this.change(name, input, role);
    if (errors) throw new Error(JSON.stringify(errors));
    return (data as Record<string, { operation: SeenOperation }>)[name]?.operation as SeenOperation;
  }

  async see(id: string): Promise<SeenOperation> {
    return (await this.ask("viewer", `query ($id: ID!) { nodeOperation(id: $id) { ${OPERATION} } }`, { id })).nodeOperation;
  }

  async until(id: string, holds: (operation: SeenOperation) => boolean, what: string): Promise<SeenOperation> {
    let seen = await this.see(id);
    await until(
      async () => {
        seen = await this.see(id);
        return holds(seen);
      },
      what,
      30_000,
    ).catch((error: Error) => {
      throw new Error(`${error.message} It is ${JSON.stringify(seen)}`);
    });
    return seen;
  }

  /** What became of an operation since a cursor, to its end. */
  async events(after: string, operationId: string): Promise<Array<{ type: string; state: string; phase: string }>> {
    const stopping = new AbortController();
    const ctx = systemContext("test", stopping.signal, this.#plane.agents.log);
    const events: Array<{ type: string; state: string; phase: string }> = [];
    for await (const { type, object } of this.replica.services.operations.queries.watch(ctx, { after })) {
      if (object?.id !== operationId) continue;
      events.push({ type, state: object.state, phase: object.phase });
      if (object.state !== "RUNNING") break;
    }
    stopping.abort();
    return events;
  }

  ended(id: string): Promise<SeenOperation> {
    return this.until(id, ({ state }) => state !== "RUNNING", `the end of ${id}`);
  }
}
