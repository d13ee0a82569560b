import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, invalidArgument, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ImageAgentServiceDefinition, type NodeImage } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { Semaphore } from "../../../kit/semaphore.ts";
import type { FleetView } from "../fleet-view.ts";
import { checkDeletion, type ImageDeletion, type RawDeletion } from "./image-input.ts";
import { hostsOf } from "./image-queries.ts";
import { fullReference } from "./image-ref.ts";
import type { NodeImageReads } from "./node-images.ts";

/** What became of it on one node. */
export interface DeletionOutcome {
  nodeId: string;
  /** Null where it was not deleted. */
  freedBytes: number | null;
  /** Null where it was. */
  error: FleetError | null;
}

/** What is to be deleted on a node. */
interface CalledOn {
  nodeId: string;
  image: string;
  type: InstanceType;
}

export interface ImageDeletionsParts {
  reads: NodeImageReads;
  agents: AgentCommands;
  directory: AgentDirectory;
  fleet: FleetView;
}

/** Agents that are told at once. */
const AT_ONCE = 32;
/** For one host: an engine takes its time over many layers. */
const DEADLINE_MS = 60_000;

/** Removes images from hosts, each for itself: where one cannot, the others still do. */
export class ImageDeletions {
  readonly #parts: ImageDeletionsParts;

  constructor(parts: ImageDeletionsParts) {
    this.#parts = parts;
  }

  /**
   * What became of it on each node: those that are named, or all that have it and those that could not be asked. Rights: admin. Throws
   * INVALID_ARGUMENT (also where images of both types are called so), NOT_FOUND (a node that is named, or an image that no host has), UNAVAILABLE while the nodes are not known. Of a node:
   * FAILED_PRECONDITION (reason ImageInUse, details.instanceIds), NOT_FOUND, UNAVAILABLE with its reason.
   */
  async delete(ctx: RequestContext, raw: RawDeletion): Promise<DeletionOutcome[]> {
    requireRole(ctx.identity, "admin");
    const deletion = checkDeletion(raw);
    await this.#parts.fleet.whenKnown(ctx.signal);
    const { found, missing } = await this.#find(ctx, deletion);
    const line = new Semaphore(AT_ONCE);
    const outcomes = await Promise.all(found.map((one) => line.run(() => this.#deleteOn(ctx, one), ctx.signal)));
    const deletedOn = outcomes.filter(({ error }) => error === null).map(({ nodeId }) => nodeId);
    if (deletedOn.length > 0) {
      ctx.log.info({ image: deletion.image, nodeIds: deletedOn, by: callerName(ctx.identity) }, "an image was deleted");
    }
    return [...outcomes, ...missing];
  }

  /** Which nodes have it; and why others do not, or are not known to. */
  async #find(ctx: RequestContext, { image, type, nodeIds }: ImageDeletion) {
    const { fleet, directory, reads } = this.#parts;
    for (const nodeId of nodeIds) if (fleet.get(nodeId) === undefined) throw notFound("Node", nodeId);
    const asked = nodeIds.length > 0 ? nodeIds : hostsOf(directory);
    const answer = await reads.read(ctx, asked, type);
    const found = answer.found.flatMap(({ nodeId, images }) => calledOn(nodeId, images, image));
    if (new Set(found.map((one) => one.type)).size > 1) {
      throw invalidArgument("type", "A disk image and a container's image are both called so: say which is meant.");
    }
    const has = new Set(found.map(({ nodeId }) => nodeId));
    const missing = new Map<string, DeletionOutcome>();
    for (const { nodeId, why } of answer.unavailable) {
      if (!has.has(nodeId)) missing.set(nodeId, { nodeId, freedBytes: null, error: why });
    }
    if (found.length === 0 && missing.size === 0) throw imageNotFound(image);
    for (const nodeId of nodeIds) {
      if (!has.has(nodeId) && !missing.has(nodeId)) missing.set(nodeId, { nodeId, freedBytes: null, error: imageNotFound(image) });
    }
    return { found, missing: missing.values() };
  }

  async #deleteOn(ctx: RequestContext, request: CalledOn): Promise<DeletionOutcome> {
    const { nodeId } = request;
    try {
      const { freedBytes } = await this.#parts.agents.call(
        ctx,
        nodeId,
        ImageAgentServiceDefinition,
        (client, options) => client.deleteNodeImage(request, options),
        { deadlineMs: DEADLINE_MS },
      );
      return { nodeId, freedBytes, error: null };
    } catch (error) {
      // The caller's own end is the caller's business.
      ctx.signal.throwIfAborted();
      return { nodeId, freedBytes: null, error: FleetError.from(error) };
    }
  }
}

/** What is meant on one node, as the node itself calls it: by its id, or by one of its names; a container's may be written short. */
function calledOn(nodeId: string, images: readonly NodeImage[], image: string): CalledOn[] {
  const full = fullReference(image);
  const exact = images.find(({ id, names }) => id === image || names.includes(image));
  const short = images.find(({ type, names }) => type === InstanceType.CONTAINER && names.includes(full));
  if (exact) return [{ nodeId, image, type: exact.type }];
  return short ? [{ nodeId, image: full, type: short.type }] : [];
}

function imageNotFound(image: string): FleetError {
  return new FleetError("NOT_FOUND", "The image is not there.", { details: { field: "image", kind: "Image", id: image } });
}
