import type { AgentCallLimits } from "../kit/agents/agent-calls.ts";
import type { LiveWaits } from "./services/inventory/live-reads.ts";
import { DEFAULT_OPERATIONS_CONFIG, type OperationsConfig } from "./services/operations/operations-config.ts";

/** What the nodes subgraph can be told. */
export interface NodesConfig {
  /** Of reads of volatile values from agents. */
  agentCalls: Partial<AgentCallLimits>;
  /** How long a request waits for volatile values. */
  liveWaits: LiveWaits;
  /** A part of an inventory that is larger than this (bytes of JSON) is refused. */
  maxInventoryBytes: number;
  /** Hosts that are added by URI; all in milliseconds. */
  bridging: {
    /** How often it is looked whether a host needs another agent, or an addition or a deletion somebody to go on with it. */
    roundMs: number;
    /** How long an agent has to take up a host that it was given. */
    settleMs: number;
    /** An agent's stream that no replica vouched for this long is over. */
    streamMs: number;
  };
  /** Milliseconds until a failed clean-up after deleted nodes is tried again. */
  cleanUpRetryMs: number;
  operations: OperationsConfig;
}

export const DEFAULT_NODES_CONFIG: NodesConfig = {
  agentCalls: {},
  liveWaits: { one: 2_000, several: 300, silent: 50 },
  maxInventoryBytes: 2 * 1024 * 1024,
  bridging: { roundMs: 2_000, settleMs: 30_000, streamMs: 20_000 },
  cleanUpRetryMs: 5_000,
  operations: DEFAULT_OPERATIONS_CONFIG,
};
