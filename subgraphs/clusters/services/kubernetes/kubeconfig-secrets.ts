import { callerName } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";

export interface OpenedKubeconfig {
  /** As YAML. */
  kubeconfig: string;
  /** The one that is used. */
  context: string;
  /** Which both belong to. */
  revision: number;
}

/** Keeps kubeconfigs: sealed in the database, each for its own cluster, and each reading of one in the log. */
export class KubeconfigSecrets {
  readonly #store: Store;
  readonly #keys: SecretKeys;

  constructor(store: Store, keys: SecretKeys) {
    this.#store = store;
    this.#keys = keys;
  }

  seal(clusterId: string, kubeconfig: string): string {
    return this.#keys.seal(kubeconfig, purposeOf(clusterId));
  }

  /**
   * A cluster's kubeconfig; null where there is no such cluster. Logs who read it and `why`. Throws FAILED_PRECONDITION (SecretKeyMissing,
   * SecretDamaged).
   */
  async open(ctx: RequestContext, id: string, why: string): Promise<OpenedKubeconfig | null> {
    const cluster = await this.#store.read((em) =>
      em.findOne(KubernetesCluster, { id, deletedAt: null }, { populate: ["sealedKubeconfig"] }),
    );
    if (cluster === null) return null;
    const { name, context, revision, sealedKubeconfig } = cluster;
    const by = ctx.identity === null ? null : callerName(ctx.identity);
    ctx.log.info({ kubernetesCluster: id, name, by, why }, "a kubeconfig is read");
    return { kubeconfig: await this.#keys.open(sealedKubeconfig, purposeOf(id)), context, revision };
  }

  /**
   * Seals with the newest key what an older one sealed, so that the older one can go. What cannot be opened is logged,
   * and stays. Gives how many were sealed anew and how many could not be.
   */
  async resealAll(ctx: Pick<RequestContext, "log">): Promise<{ resealed: number; failed: number }> {
    const clusters = await this.#store.read((em) => em.find(KubernetesCluster, { deletedAt: null }, { populate: ["sealedKubeconfig"] }));
    const counts = { resealed: 0, failed: 0 };
    for (const { id, name, sealedKubeconfig: before } of clusters) {
      if (this.#keys.isNewest(before)) continue;
      try {
        const after = this.#keys.seal(await this.#keys.open(before, purposeOf(id)), purposeOf(id));
        // One that was replaced meanwhile is sealed by whoever replaced it.
        const where = { id, sealedKubeconfig: before };
        await this.#store.transaction(({ em }) => em.nativeUpdate(KubernetesCluster, where, { sealedKubeconfig: after }));
        counts.resealed += 1;
      } catch (error) {
        const { code, reason, message } = FleetError.from(error);
        ctx.log.warn({ kubernetesCluster: id, name, code, reason }, `a kubeconfig cannot be used: ${message}`);
        counts.failed += 1;
      }
    }
    return counts;
  }
}

/** A box does not open for another cluster than the one that it was made for. */
function purposeOf(clusterId: string): string {
  return JSON.stringify(["kubeconfig", clusterId]);
}
