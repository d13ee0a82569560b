import { databaseNow } from "../../../../kit/store/clock.ts";
import type { Store } from "../../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../../entities/kubernetes-cluster.ts";

/** Which clusters this process checks: claims by the database's clock, so that of any number of replicas one checks a cluster. */
export class CheckDuty {
  readonly #store: Store;
  readonly #by: string;
  readonly #ttlMs: number;

  /** `by`: tells this process from every other one. `ttlMs`: how long a claim holds that is not renewed. */
  constructor(store: Store, by: string, ttlMs: number) {
    this.#store = store;
    this.#by = by;
    this.#ttlMs = ttlMs;
  }

  /** Renews all claims and takes what nobody has. Gives the ids of the clusters that are this process's to check now. */
  renew(): Promise<Set<string>> {
    return this.#store.transaction(async ({ em }) => {
      const now = await databaseNow(em, this.#store.dialect);
      const by = this.#by;
      const free = { deletedAt: null, enabled: true, $or: [{ checkClaimedBy: by }, { checkClaimedUntil: { $lte: now } }] };
      await em.nativeUpdate(KubernetesCluster, free, { checkClaimedBy: by, checkClaimedUntil: now + this.#ttlMs });
      const held = await em.find(KubernetesCluster, { deletedAt: null, enabled: true, checkClaimedBy: by }, { fields: ["id"] });
      return new Set(held.map(({ id }) => id));
    });
  }

  /** Others may take them at once. */
  async release(): Promise<void> {
    await this.#store.transaction(({ em }) =>
      em.nativeUpdate(KubernetesCluster, { checkClaimedBy: this.#by }, { checkClaimedBy: null, checkClaimedUntil: 0 }),
    );
  }
}
