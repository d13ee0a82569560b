import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { type Connection, type ConnectionArguments, sortedConnection } from "../../../kit/pagination.ts";
import type { FleetView } from "../fleet-view.ts";
import { checkImageFilter, type ImageFilter, type RawImageFilter } from "./image-input.ts";
import { mergeImages } from "./image-merge.ts";
import type { ImageView, UnavailableNode } from "./image-types.ts";
import type { NodeImageReads } from "./node-images.ts";

export interface ImageList extends Connection<ImageView> {
  unavailable: UnavailableNode[];
}

export interface ImageQueriesParts {
  reads: NodeImageReads;
  directory: AgentDirectory;
  fleet: FleetView;
}

/** What images there are, asked of the hosts when somebody wants to know: nothing of it is kept. */
export class ImageQueries {
  readonly #parts: ImageQueriesParts;

  constructor(parts: ImageQueriesParts) {
    this.#parts = parts;
  }

  /** By name. Rights: viewer. Throws INVALID_ARGUMENT, NOT_FOUND (no such node), UNAVAILABLE while the nodes are not known. */
  async list(ctx: RequestContext, raw: RawImageFilter | null | undefined, page: ConnectionArguments): Promise<ImageList> {
    const { images, unavailable } = await this.all(ctx, raw);
    return { ...sortedConnection({ list: "images", items: images, sort: "name" }, page), unavailable };
  }

  /** All of them. Rights and errors as of `list`. */
  async all(ctx: RequestContext, raw: RawImageFilter | null | undefined): Promise<{ images: ImageView[]; unavailable: UnavailableNode[] }> {
    requireRole(ctx.identity, "viewer");
    const filter = checkImageFilter(raw);
    const nodeIds = await this.#nodesOf(ctx, filter.nodeId);
    const { found, unavailable } = await this.#parts.reads.read(ctx, nodeIds, filter.type);
    return { images: mergeImages(found).filter(matcher(filter)), unavailable };
  }

  async #nodesOf(ctx: RequestContext, nodeId: string | null): Promise<string[]> {
    const { fleet, directory } = this.#parts;
    await fleet.whenKnown(ctx.signal);
    if (nodeId === null) return hostsOf(directory);
    if (fleet.get(nodeId) === undefined) {
      const { code, message, details } = notFound("Node", nodeId);
      throw new FleetError(code, message, { details: { ...details, field: "filter.nodeId" } });
    }
    return [nodeId];
  }
}

/** Nodes with a host behind them: a simulated one has no images that could be missed. */
export function hostsOf(directory: AgentDirectory): string[] {
  return [...directory.nodeIds()].filter((nodeId) => directory.get(nodeId)?.simulated === false);
}

/** Agents are asked for a type; one that tells more is not believed more. */
function matcher({ type, name }: ImageFilter): (image: ImageView) => boolean {
  return (image) =>
    (type === null || image.type === type) && (name === null || image.names.some((one) => one.toLowerCase().includes(name)));
}
