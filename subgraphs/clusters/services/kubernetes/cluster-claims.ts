import { databaseNow } from "../../../kit/store/clock.ts";
import type { EntityManager, Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";

/** What one replica at a time does with a cluster. */
export type ClaimKind = "check" | "discovery";

const COLUMNS = {
  check: { by: "checkClaimedBy", until: "checkClaimedUntil" },
  discovery: { by: "discoveryClaimedBy", until: "discoveryClaimedUntil" },
} as const;

/** Who works on which cluster: leases by the database's clock, so that one replica checks a cluster, and one looks for its Prometheus. */
export class ClusterClaims {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Takes or renews the claim for `ttlMs`. False where another has it, or the cluster is deleted or disabled. `by`: one name per claimant. */
  claim(kind: ClaimKind, id: string, by: string, ttlMs: number): Promise<boolean> {
    const columns = COLUMNS[kind];
    return this.#store.transaction(async ({ em }) => {
      const now = await this.now(em);
      const free = { $or: [{ [columns.until]: { $lte: now } }, { [columns.by]: by }] };
      const taken = { [columns.by]: by, [columns.until]: now + ttlMs };
      return (await em.nativeUpdate(KubernetesCluster, { $and: [{ id, deletedAt: null, enabled: true }, free] }, taken)) === 1;
    });
  }

  /** Gives the claim up. One that was lost already is no matter. */
  async release(kind: ClaimKind, id: string, by: string): Promise<void> {
    const columns = COLUMNS[kind];
    await this.#store.transaction(({ em }) =>
      em.nativeUpdate(KubernetesCluster, { id, [columns.by]: by }, { [columns.by]: null, [columns.until]: 0 }),
    );
  }

  /** Whether anybody holds it. */
  async isClaimed(kind: ClaimKind, id: string): Promise<boolean> {
    return this.#store.read(
      async (em) => (await em.count(KubernetesCluster, { id, [COLUMNS[kind].until]: { $gt: await this.now(em) } })) > 0,
    );
  }

  /** Milliseconds since 1970 by the database's clock, in the caller's transaction or read. */
  now(em: EntityManager): Promise<number> {
    return databaseNow(em, this.#store.dialect);
  }
}
