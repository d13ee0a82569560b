import type { EntityManager } from "../../kit/store/orm.ts";
import { Instance } from "../entities/instance.ts";
import type { InstanceWriter } from "./instance-writer.ts";
import { release } from "./reservations.ts";
import { MAX_REVISION, REFUSED } from "./state-machine.ts";

/** What one call to an agent was about. */
export interface Sent {
  id: string;
  generation: number;
  revision: number;
}

/** Instances whose agents have still to be told, and what became of telling them. */
export class DispatchStore {
  readonly #writer: InstanceWriter;

  constructor(writer: InstanceWriter) {
    this.#writer = writer;
  }

  /** Nodes with something to be told. */
  pendingNodes(limit: number): Promise<string[]> {
    return this.#writer.store.read(async (em) => {
      const rows = await em.execute<Array<{ node_id: string }>>(
        `select distinct node_id from instance where applied_revision < revision and deleted_at is null and managed = true
         and ${NOT_MOVING} limit ?`,
        [limit],
      );
      return rows.map((row) => row.node_id);
    });
  }

  /** Of one node, oldest request first, but for those in `except`. With their secrets. */
  pending(nodeId: string, except: readonly string[], limit: number): Promise<Instance[]> {
    return this.#writer.store.read(async (em) => {
      const ids = await pendingIds(em, nodeId, limit + except.length);
      const wanted = ids.filter((id) => !except.includes(id)).slice(0, limit);
      if (wanted.length === 0) return [];
      return em.find(Instance, { id: { $in: wanted } }, { populate: ["secrets"], orderBy: { updatedAt: "asc", id: "asc" } });
    });
  }

  /** The agent has it on disk. `has`: the newest revision that it has, which may be one that this database has forgotten. */
  async applied({ id, generation, revision }: Sent, has: number): Promise<void> {
    if (has > revision && has < MAX_REVISION) {
      await this.#overtake({ id, generation, revision }, (instance) => {
        instance.revision = has + 1;
      });
      return;
    }
    await this.#writer.store.transaction(({ em }) =>
      em.execute("update instance set applied_revision = ? where id = ? and generation = ? and applied_revision < ?", [
        revision,
        id,
        generation,
        revision,
      ]),
    );
  }

  /** The agent has seen a higher placement number than the database knows (a restored backup): this placement gets a new one above it. */
  stale(sent: Sent, highest: number): Promise<void> {
    return this.#overtake(sent, (instance) => {
      instance.generation = Math.max(sent.generation, highest < MAX_REVISION ? highest : 0) + 1;
      instance.appliedRevision = 0;
    });
  }

  /**
   * The agent will not take it, now or later: ERROR, and it is told again only with the next request. A deletion is told again all the same;
   * what was to be adopted is left alone again. False where it is to be told again.
   */
  refused({ id, generation, revision }: Sent, message: string): Promise<boolean> {
    return this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(id);
      if (!instance || instance.generation !== generation || instance.revision !== revision || instance.state === "DELETED") return true;
      if (instance.adoptNativeId !== null && instance.appliedRevision === 0 && instance.desiredState !== "DELETED") {
        await release(instances.em, instance.nodeId, instance);
        instances.change(instance, () => unadopt(instance, message));
        return true;
      }
      instances.change(instance, () => {
        Object.assign(instance, { state: "ERROR", stateReason: REFUSED, errorMessage: message, activity: null });
        if (instance.desiredState !== "DELETED") instance.appliedRevision = revision;
      });
      return instance.desiredState !== "DELETED";
    });
  }

  /** Only where nothing has been asked since. */
  async #overtake(sent: Sent, change: (instance: Instance) => void): Promise<void> {
    await this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(sent.id);
      if (instance?.generation !== sent.generation || instance.revision !== sent.revision || instance.state === "DELETED") return;
      instances.change(instance, () => change(instance));
    });
  }
}

/** Of one that is being moved nobody else tells either agent anything, until it is decided whose it is. */
const NOT_MOVING = "not exists (select 1 from instance_move where instance_move.instance_id = instance.id)";

async function pendingIds(em: EntityManager, nodeId: string, limit: number): Promise<string[]> {
  const rows = await em.execute<Array<{ id: string }>>(
    `select id from instance where node_id = ? and applied_revision < revision and deleted_at is null and managed = true and ${NOT_MOVING}
     order by updated_at, id limit ?`,
    [nodeId, limit],
  );
  return rows.map((row) => row.id);
}

function unadopt(instance: Instance, message: string): void {
  Object.assign(instance, {
    managed: false,
    desiredState: null,
    stateReason: REFUSED,
    errorMessage: message,
    adoptNativeId: null,
    revision: 0,
    appliedRevision: 0,
    cpuCores: 0,
    memoryBytes: 0,
    diskBytes: 0,
  });
}
