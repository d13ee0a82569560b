import { databaseNow } from "../../../kit/store/clock.ts";
import type { EntityManager, Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";

/**
 * Who works on which cluster: leases by the database's clock, so that of any number of replicas one checks a cluster, and one looks for its
 * Prometheus. `by` tells a claimant from every other one; a claim that is not renewed is over after `ttlMs`.
 */
export class ClusterClaims {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Renews all of a process's claims to check clusters, and takes the enabled ones that nobody has. Gives the ids of those it has now. */
  claimChecks(by: string, ttlMs: number): Promise<Set<string>> {
    return this.#store.transaction(async ({ em }) => {
      const now = await this.#now(em);
      const free = { deletedAt: null, enabled: true, $or: [{ checkClaimedBy: by }, { checkClaimedUntil: { $lte: now } }] };
      await em.nativeUpdate(KubernetesCluster, free, { checkClaimedBy: by, checkClaimedUntil: now + ttlMs });
      const held = await em.find(KubernetesCluster, { deletedAt: null, enabled: true, checkClaimedBy: by }, { fields: ["id"] });
      return new Set(held.map(({ id }) => id));
    });
  }

  /** Others may check them at once. */
  async releaseChecks(by: string): Promise<void> {
    await this.#store.transaction(({ em }) =>
      em.nativeUpdate(KubernetesCluster, { checkClaimedBy: by }, { checkClaimedBy: null, checkClaimedUntil: 0 }),
    );
  }

  /** Takes or renews the claim to look for the Prometheus. False where another has it, or the cluster is deleted or disabled. */
  claimDiscovery(id: string, by: string, ttlMs: number): Promise<boolean> {
    return this.#store.transaction(async ({ em }) => {
      const now = await this.#now(em);
      const free = { $or: [{ discoveryClaimedUntil: { $lte: now } }, { discoveryClaimedBy: by }] };
      const taken = { discoveryClaimedBy: by, discoveryClaimedUntil: now + ttlMs };
      return (await em.nativeUpdate(KubernetesCluster, { $and: [{ id, deletedAt: null, enabled: true }, free] }, taken)) === 1;
    });
  }

  /** Gives the claim up. One that was lost already is no matter. */
  async releaseDiscovery(id: string, by: string): Promise<void> {
    const given = { discoveryClaimedBy: null, discoveryClaimedUntil: 0 };
    await this.#store.transaction(({ em }) => em.nativeUpdate(KubernetesCluster, { id, discoveryClaimedBy: by }, given));
  }

  /** Whether anybody has the claim to look for its Prometheus. */
  async isDiscoveryClaimed(id: string): Promise<boolean> {
    return this.#store.read(
      async (em) => (await em.count(KubernetesCluster, { id, discoveryClaimedUntil: { $gt: await this.#now(em) } })) > 0,
    );
  }

  #now(em: EntityManager): Promise<number> {
    return databaseNow(em, this.#store.dialect);
  }
}
