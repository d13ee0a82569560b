import { waitAtMost } from "../../libvirt/wait.ts";
import type { TypeSupport } from "../instance-driver.ts";
import { type ContainerProblem, hostProblem, probeProblem, supported, unreachable, unsupported } from "./abilities.ts";
import { probeContainers } from "./container-probe.ts";
import { engineError } from "./engine-errors.ts";
import type { EngineFacts, EngineHost } from "./engine-host.ts";
import type { EngineWatch } from "./engine-watch.ts";

interface Probe {
  /** Of the engine that was tried. */
  key: string;
  /** Null: containers run. */
  said: string | null;
  at: number;
}

/** How long a first question waits for the first connection. */
const FIRST_CONNECTION_MS = 5000;
/** A failure is looked at again: what was missing may have been installed. */
const FAILURE_HOLDS_MS = 60_000;

/** Whether containers run here: tried once for each engine, and again later where they did not. */
export class ContainerSupport {
  readonly #host: EngineHost;
  readonly #watch: EngineWatch;
  #last: Probe | null = null;
  #running: Promise<Probe> | null = null;

  constructor(host: EngineHost, watch: EngineWatch) {
    this.#host = host;
    this.#watch = watch;
  }

  /** Never throws. */
  async read(signal: AbortSignal): Promise<TypeSupport[]> {
    let engine = "";
    try {
      await waitAtMost(this.#watch.attempted, FIRST_CONNECTION_MS, signal, () => new Error("no connection yet")).catch(() => undefined);
      if (!this.#watch.connected) return unsupported(unreachable(this.#watch.lastError, this.#host.engine.socketPath), engine);
      const facts = await this.#host.facts(signal);
      engine = facts.text;
      const problem = hostProblem(facts.info) ?? (await this.#probeProblem(facts, signal));
      return problem === null ? supported(engine) : unsupported(problem, engine);
    } catch (error) {
      return unsupported(unreachable(engineError(error, "describe itself"), this.#host.engine.socketPath), engine);
    }
  }

  async #probeProblem(facts: EngineFacts, signal: AbortSignal): Promise<ContainerProblem | null> {
    const key = JSON.stringify([facts.text, facts.info.CgroupVersion, facts.info.DockerRootDir]);
    const last = this.#last;
    const holds = last !== null && last.key === key && (last.said === null || performance.now() - last.at < FAILURE_HOLDS_MS);
    const { said } = holds ? last : await this.#probe(key, facts, signal);
    return said === null ? null : probeProblem(said);
  }

  /** One at a time, whoever asks. */
  async #probe(key: string, { info, isPodman }: EngineFacts, signal: AbortSignal): Promise<Probe> {
    const { engine, log } = this.#host;
    this.#running ??= probeContainers({ engine, isPodman, info, log }, signal)
      .then((said) => {
        this.#last = { key, said, at: performance.now() };
        log.info({ works: said === null, said }, "tried whether containers run");
        return this.#last;
      })
      .finally(() => {
        this.#running = null;
      });
    return await this.#running;
  }
}
