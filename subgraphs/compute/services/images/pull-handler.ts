import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import { ImageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { TaskHandler, TaskRun } from "../tasks/task-types.ts";
import { type PullInput, toRequest } from "./pull-source.ts";

export interface PullHandlerParts {
  agents: AgentCommands;
  secrets: SecretKeys;
}

/** One node's part of a pull. Following it is what keeps it going on the host: who does not follow it any more has given it up. */
export class PullHandler implements TaskHandler {
  readonly kind = "IMAGE_PULL";
  /** Each only waits for a host. */
  readonly concurrent = 256;
  readonly deadlineMs = 6 * 3_600_000;
  readonly #parts: PullHandlerParts;

  constructor(parts: PullHandlerParts) {
    this.#parts = parts;
  }

  async run(run: TaskRun): Promise<void> {
    run.signal.throwIfAborted();
    const { agents, secrets } = this.#parts;
    const nodeId = run.task.nodeId ?? "";
    const request = await toRequest(nodeId, run.task.input as unknown as PullInput, secrets);
    const frames = agents.stream(run.ctx, nodeId, ImageAgentServiceDefinition, (client, options) => client.pullNodeImage(request, options));
    for await (const { status, currentBytes, totalBytes, image } of frames) {
      run.tell({ status, currentBytes, totalBytes: totalBytes || null });
      if (image !== undefined) return;
    }
    run.signal.throwIfAborted();
    // An agent that is stopped in good order ends its streams; the next run asks again.
    throw new FleetError("UNAVAILABLE", "The node's agent ended the pull before the image was there.", { reason: "PullInterrupted" });
  }
}
