import type { AgentCallLimits } from "../kit/agents/agent-calls.ts";

/** What the nodes subgraph can be told. */
export interface NodesConfig {
  /** Of reads of volatile values from agents. */
  agentCalls: Partial<AgentCallLimits>;
  /** An inventory larger than this (serialised, bytes) is refused. */
  maxInventoryBytes: number;
  /** Milliseconds until a failed clean-up after deleted nodes is tried again. */
  cleanUpRetryMs: number;
}

export const DEFAULT_NODES_CONFIG: NodesConfig = {
  agentCalls: {},
  maxInventoryBytes: 1024 * 1024,
  cleanUpRetryMs: 5_000,
};
