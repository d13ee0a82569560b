import type { ChannelPool } from "../../../../platform/grpc/channel-pool.ts";
import type { Metrics } from "../../../../platform/observability/metrics.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import { type AgentCallLimits, AgentCalls } from "../../../kit/agents/agent-calls.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import type { TaskRequests } from "../tasks/task-requests.ts";
import { ImageDeletions } from "./image-deletions.ts";
import { ImagePulls } from "./image-pulls.ts";
import { ImageQueries } from "./image-queries.ts";
import { NodeImageReads } from "./node-images.ts";
import { PullHandler } from "./pull-handler.ts";
import { RegistryCredentials } from "./registry-credentials.ts";

export interface ImageServicesParts {
  writer: InstanceWriter;
  log: EventLog;
  directory: AgentDirectory;
  fleet: FleetView;
  pool: ChannelPool;
  commands: AgentCommands;
  taskRequests: TaskRequests;
  secrets: SecretKeys;
  metrics: Metrics;
  strategy: "spread" | "pack";
  agentCalls: Partial<AgentCallLimits>;
}

/** An engine with many images takes longer to tell them than a host takes for its readings. */
const LIST_MS = 8_000;

/** All that the two faces call about images, wired together. */
export class ImageServices {
  readonly queries: ImageQueries;
  readonly pulls: ImagePulls;
  readonly deletions: ImageDeletions;
  readonly credentials: RegistryCredentials;
  /** For the task runner. */
  readonly pullHandler: PullHandler;

  constructor({ writer, log, directory, fleet, pool, commands, taskRequests, secrets, metrics, strategy, agentCalls }: ImageServicesParts) {
    const reads = new NodeImageReads(new AgentCalls({ directory, pool, metrics, limits: { deadlineMs: LIST_MS, ...agentCalls } }));
    this.queries = new ImageQueries({ reads, directory, fleet });
    this.pulls = new ImagePulls({ writer, log, taskRequests, fleet, secrets, strategy });
    this.deletions = new ImageDeletions({ reads, agents: commands, directory, fleet });
    this.credentials = new RegistryCredentials({ store: writer.store, secrets, directory });
    this.pullHandler = new PullHandler({ agents: commands, secrets });
  }
}
