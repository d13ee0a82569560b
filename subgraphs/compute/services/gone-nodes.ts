import type { RequestContext } from "../../../platform/request-context.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import { NodeReport } from "../entities/node-report.ts";
import type { InstanceWriter } from "./instance-writer.ts";
import { NODE_GONE } from "./state-machine.ts";

/** Instances that are changed in one transaction. */
const BATCH = 200;

/**
 * Instances of nodes that have left the fleet: ours stay as they are, with the reason NODE_GONE, and hold what they hold; if the node comes
 * back, its reports say how they are. What others made is forgotten. Several replicas may do the same.
 */
export class GoneNodes {
  readonly #ctx: RequestContext;
  readonly #writer: InstanceWriter;
  readonly #directory: AgentDirectory;
  readonly #forget: () => void;
  #running: Promise<void> | null = null;
  #again = false;

  constructor(ctx: RequestContext, writer: InstanceWriter, directory: AgentDirectory) {
    this.#ctx = ctx;
    this.#writer = writer;
    this.#directory = directory;
    this.#forget = directory.listen({ onGone: () => this.#wake(), onSnapshot: () => this.#wake() });
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    this.#forget();
    await this.#running;
  }

  /** One round: also now and then, for what was created while its node left. */
  async round(): Promise<void> {
    if (!this.#directory.synced) return;
    for (const nodeId of await this.#nodesToLookAt()) {
      if (this.#ctx.signal.aborted) return;
      // Only a creation or a report that overtook the watch can be of a node that the directory does not hold.
      if (this.#directory.get(nodeId) !== undefined || (await this.#directory.lookUp(nodeId, this.#ctx)) !== null) continue;
      await this.#leave(nodeId);
    }
  }

  #wake(): void {
    if (this.#ctx.signal.aborted) return;
    if (this.#running !== null) {
      this.#again = true;
      return;
    }
    this.#running = this.round()
      .catch((error: unknown) => this.#ctx.log.warn({ err: error }, "instances of nodes that left were not marked; trying again later"))
      .finally(() => {
        this.#running = null;
        if (!this.#again) return;
        this.#again = false;
        this.#wake();
      });
  }

  async #nodesToLookAt(): Promise<string[]> {
    const rows = await this.#writer.store.read((em) =>
      em.execute<Array<{ node_id: string }>>(
        `select distinct node_id from instance where deleted_at is null and (managed = false or coalesce(state_reason, '') <> ?)
         union select node_id from node_report`,
        [NODE_GONE],
      ),
    );
    return rows.map((row) => row.node_id).filter((nodeId) => this.#directory.get(nodeId) === undefined);
  }

  async #leave(nodeId: string): Promise<void> {
    let marked = 0;
    for (let count = BATCH; count === BATCH; marked += count) count = await this.#leaveBatch(nodeId);
    this.#ctx.log.warn({ nodeId, instances: marked }, "a node has left the fleet; nobody tells any more what its instances do");
  }

  #leaveBatch(nodeId: string): Promise<number> {
    return this.#writer.transaction(async (instances) => {
      // If it comes back, it is to tell everything.
      await instances.em.nativeDelete(NodeReport, { nodeId });
      const ids = await instances.em.execute<Array<{ id: string }>>(
        `select id from instance where node_id = ? and deleted_at is null and (managed = false or coalesce(state_reason, '') <> ?)
         order by id limit ?`,
        [nodeId, NODE_GONE, BATCH],
      );
      const locked = ids.length === 0 ? [] : await instances.lock({ id: { $in: ids.map(({ id }) => id) } });
      for (const instance of locked) {
        if (!instance.managed) instances.forget(instance);
        else if (instance.state !== "DELETED") {
          instances.change(instance, () => {
            instance.stateReason = NODE_GONE;
          });
        }
      }
      return ids.length;
    });
  }
}
