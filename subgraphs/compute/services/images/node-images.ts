import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import { RequestScope } from "../../../kit/request-scope.ts";
import { Semaphore } from "../../../kit/semaphore.ts";
import type { NodeImages } from "./image-merge.ts";
import type { ImageType, UnavailableNode } from "./image-types.ts";

export interface NodeImagesAnswer {
  found: NodeImages[];
  unavailable: UnavailableNode[];
}

/** Agents that one question asks at once. */
const AT_ONCE = 64;
/** For all of them together. */
const DEADLINE_MS = 20_000;
/** Images that one agent may tell. */
const MAX_PER_NODE = 20_000;

const TYPES = { VM: InstanceType.VM, CONTAINER: InstanceType.CONTAINER } as const;

/** What hosts have now. An agent that does not answer is no failure of the others. */
export class NodeImageReads {
  readonly #agents: AgentCalls;

  /** Of calls that wait longer than those for readings do: an engine with many images takes its time. */
  constructor(agents: AgentCalls) {
    this.#agents = agents;
  }

  /** `type` null: of both. Throws only the caller's own end. */
  async read(ctx: RequestContext, nodeIds: readonly string[], type: ImageType | null): Promise<NodeImagesAnswer> {
    const answer: NodeImagesAnswer = { found: [], unavailable: [] };
    const scope = new RequestScope({ signal: ctx.signal, deadlineMs: DEADLINE_MS });
    const line = new Semaphore(AT_ONCE);
    try {
      const asked = { ...ctx, signal: scope.signal };
      await Promise.all(
        nodeIds.map((nodeId) =>
          line
            .run(() => this.#readNode(asked, nodeId, type, answer), scope.signal)
            .catch((error: unknown) => this.#missed(ctx, nodeId, error, answer)),
        ),
      );
    } finally {
      scope.close();
    }
    return answer;
  }

  async #readNode(ctx: RequestContext, nodeId: string, type: ImageType | null, { found, unavailable }: NodeImagesAnswer): Promise<void> {
    const request = { nodeId, type: type === null ? InstanceType.UNSPECIFIED : TYPES[type] };
    const answer = await this.#agents.read(
      ctx,
      nodeId,
      ImageAgentServiceDefinition,
      "ListNodeImages",
      (client, options) => client.listNodeImages(request, options),
      request.type,
    );
    found.push({ nodeId, images: answer.images.slice(0, MAX_PER_NODE) });
    for (const message of answer.unavailable) {
      unavailable.push({ nodeId, why: new FleetError("UNAVAILABLE", message, { reason: "DriverUnavailable", details: { nodeId } }) });
    }
  }

  #missed(ctx: RequestContext, nodeId: string, error: unknown, { unavailable }: NodeImagesAnswer): void {
    // The caller's own end is the caller's business.
    ctx.signal.throwIfAborted();
    const why = FleetError.from(error);
    if (why.code === "INTERNAL") ctx.log.error({ err: why.cause ?? why, nodeId }, "asking a node for its images failed");
    unavailable.push({ nodeId, why });
  }
}
