import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AgentOptions, type RunningAgent, startAgent } from "../../agent/main.ts";
import { createLogger } from "../../platform/observability/log.ts";

/** A state directory, and the agents that were started on it: all are stopped and removed at the end. */
export class TestAgentHome implements AsyncDisposable {
  readonly #agents: RunningAgent[] = [];

  private constructor(readonly stateDir: string) {}

  static async create(): Promise<TestAgentHome> {
    return new TestAgentHome(await mkdtemp(join(tmpdir(), "fleetgraph-agent-")));
  }

  async start(options: Partial<AgentOptions> = {}): Promise<RunningAgent> {
    const log = createLogger({ name: "agent", level: process.env.TEST_LOG ? "debug" : "silent" });
    const listen = { host: "127.0.0.1", port: 0 };
    const agent = await startAgent({ stateDir: this.stateDir, listen, hostname: "host-1", log, ...options });
    this.#agents.push(agent);
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    await rm(this.stateDir, { recursive: true, force: true });
  }
}
