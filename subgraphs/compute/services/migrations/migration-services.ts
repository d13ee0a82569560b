import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { ComputeConfig } from "../../config.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { TaskStore } from "../tasks/task-store.ts";
import { FormerPlacements } from "./former-placements.ts";
import { MigrationAgents } from "./migration-agents.ts";
import { MigrationHandler } from "./migration-handler.ts";
import { MigrationRequests } from "./migration-requests.ts";
import { MigrationPreflights } from "./preflights.ts";

export interface MigrationServicesParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  writer: InstanceWriter;
  fleet: FleetView;
  commands: AgentCommands;
  config: Pick<ComputeConfig, "strategy">;
}

/** All that moves instances from one node to another, wired together. */
export class MigrationServices {
  readonly requests: MigrationRequests;
  /** To be registered with the runner of tasks. */
  readonly handler: MigrationHandler;
  /** To be looked after now and then. */
  readonly former: FormerPlacements;

  constructor({ ctx, writer, fleet, commands, config }: MigrationServicesParts) {
    const agents = new MigrationAgents(commands, fleet);
    const preflights = new MigrationPreflights({ writer, fleet, agents });
    this.former = new FormerPlacements({ ctx, writer, fleet, agents, commands });
    this.requests = new MigrationRequests({ writer, fleet, tasks: new TaskStore(), preflights, config });
    this.handler = new MigrationHandler({ writer, fleet, agents, preflights, former: this.former });
  }
}
