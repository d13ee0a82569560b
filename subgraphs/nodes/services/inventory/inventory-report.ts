import { LockMode, UniqueConstraintViolationException } from "@mikro-orm/core";
import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { ReportInventoryRequest } from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { requireAgent, requireOwnNode } from "../../../kit/agents/own-node.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { NodeInventoryPart } from "../../entities/node-inventory-part.ts";
import { hardwareChanges } from "./hardware-changes.ts";
import { emitHardwareChange } from "./hardware-events.ts";
import { contentOf, type InventoryPartName, partOf, type StoredContent } from "./inventory-parts.ts";

/** What an agent says about one part of a node, once it was checked. */
interface Offer {
  nodeId: string;
  part: InventoryPartName;
  digest: string;
  /** Null in the first, cheap call. */
  content: StoredContent | null;
  observedAt: Date;
}

export interface InventoryReportParts {
  store: Store;
  directory: AgentDirectory;
  maxInventoryBytes: number;
}

/** The same content again moves `observedAt` at most this often. */
const CONFIRM_AFTER_MS = 60_000;

/** Takes the inventories that agents push, part by part, and tells what became of the hardware. */
export class InventoryReport {
  readonly #parts: InventoryReportParts;

  constructor(parts: InventoryReportParts) {
    this.#parts = parts;
  }

  /**
   * True where the part itself is wanted: it is not the one that is stored. Rights: the node's own agent. Throws INVALID_ARGUMENT,
   * NOT_FOUND (no such node in service), FORBIDDEN (reason NotYourNode), UNAVAILABLE while it cannot be told whose the node is.
   */
  async report(ctx: RequestContext, request: ReportInventoryRequest): Promise<boolean> {
    requireAgent(ctx.identity);
    const offer = this.#check(request);
    await requireOwnNode(this.#parts.directory, ctx, offer.nodeId);
    const answer = offer.content === null ? await this.#answerWithoutWriting(offer) : null;
    if (answer !== null) return answer;
    try {
      return await this.#save(offer);
    } catch (error) {
      // The first two reports of a part met: the second look finds the row of the other.
      if (error instanceof UniqueConstraintViolationException) return await this.#save(offer);
      throw error;
    }
  }

  #check(request: ReportInventoryRequest): Offer {
    const { nodeId, digest, observedAt } = request;
    if (nodeId === "" || nodeId.length > 128) throw invalidArgument("node_id", "node_id must name a node.");
    if (!/^[0-9a-f]{64}$/.test(digest)) throw invalidArgument("digest", "digest must be a SHA-256, 64 lower-case hexadecimal digits.");
    if (observedAt === undefined || Number.isNaN(observedAt.getTime())) throw invalidArgument("observed_at", "observed_at must be set.");
    const part = partOf(request.part);
    const message = contentOf(request, part);
    const content = message === null ? null : this.#toJson(part, message);
    // A host whose clock is ahead must not shut out what it reports once its clock is right again.
    return { nodeId, part, digest, content, observedAt: new Date(Math.min(observedAt.getTime(), Date.now())) };
  }

  /** Without undefined members, as the database gives it back; and without NUL, which PostgreSQL does not take. */
  #toJson(part: InventoryPartName, message: object): StoredContent {
    const text = JSON.stringify(message).replaceAll("\\u0000", "\\ufffd");
    const { maxInventoryBytes } = this.#parts;
    if (Buffer.byteLength(text) > maxInventoryBytes) {
      throw invalidArgument(part.toLowerCase(), `A part of an inventory may have ${maxInventoryBytes} bytes as JSON.`, {
        maxInventoryBytes,
      });
    }
    return JSON.parse(text) as StoredContent;
  }

  /** What most offers come to; null where something is to be written. All agents offer at once when the control plane is back. */
  async #answerWithoutWriting({ nodeId, part, digest, observedAt }: Offer): Promise<boolean | null> {
    const fields = ["digest", "observedAt"] as const;
    const known = await this.#parts.store.read((em) => em.findOne(NodeInventoryPart, { nodeId, part }, { fields }));
    if (known === null) return true;
    const newerMs = observedAt.getTime() - known.observedAt.getTime();
    if (newerMs < 0) return false;
    if (known.digest !== digest) return true;
    return newerMs < CONFIRM_AFTER_MS ? false : null;
  }

  #save({ nodeId, part, digest, content, observedAt }: Offer): Promise<boolean> {
    return this.#parts.store.transaction(async ({ em, emit }) => {
      const known = await em.findOne(NodeInventoryPart, { nodeId, part }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (known && known.observedAt > observedAt) return false;
      if (known?.digest === digest) {
        Object.assign(known, { observedAt, reportedAt: new Date() });
        return false;
      }
      if (content === null) return true;
      for (const change of hardwareChanges(part, known?.content ?? null, content)) emitHardwareChange(emit, nodeId, change);
      const fields = { digest, content, observedAt, reportedAt: new Date() };
      if (known) Object.assign(known, fields);
      else em.create(NodeInventoryPart, { nodeId, part, ...fields }, { persist: true });
      return false;
    });
  }
}
