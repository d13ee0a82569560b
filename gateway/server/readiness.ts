import type { Graph } from "../execution/graph.ts";

/** Whether requests should be sent here. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly draining: boolean;
  /** By subgraph "ok", or why it is not. */
  readonly subgraphs: Readonly<Record<string, string>>;
}

/** How long an answer is good for: whoever asks often costs the subgraphs nothing. */
const FRESH_MS = 1_000;

/** Asks the subgraphs whether they are there, once for all who want to know at the same time. */
export class Readiness {
  readonly #graph: Graph;
  #draining = false;
  #asked: { at: number; subgraphs: Promise<Record<string, string | null>> } | null = null;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  drain(): void {
    this.#draining = true;
  }

  async report(): Promise<ReadinessReport> {
    if (!this.#asked || performance.now() - this.#asked.at > FRESH_MS) {
      this.#asked = { at: performance.now(), subgraphs: this.#graph.unreachable() };
    }
    const subgraphs = await this.#asked.subgraphs;
    const ready = !this.#draining && Object.values(subgraphs).every((fault) => fault === null);
    return {
      ready,
      draining: this.#draining,
      subgraphs: Object.fromEntries(Object.entries(subgraphs).map(([name, fault]) => [name, fault ?? "ok"])),
    };
  }
}
