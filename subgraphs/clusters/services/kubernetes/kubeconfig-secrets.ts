import { callerName } from "../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { type ResealCounts, resealBoxes } from "../../../../platform/secrets/reseal.ts";
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

  /** As `resealBoxes`. A deleted cluster has none. */
  async resealAll({ log }: Pick<RequestContext, "log">): Promise<ResealCounts> {
    const clusters = await this.#store.read((em) => em.find(KubernetesCluster, { deletedAt: null }, { populate: ["sealedKubeconfig"] }));
    const boxes = clusters.map(({ id, name, sealedKubeconfig }) => ({
      box: sealedKubeconfig,
      purpose: purposeOf(id),
      about: { kubernetesCluster: id, name },
      replace: (after: string) => this.#replace({ id, sealedKubeconfig }, after),
    }));
    return resealBoxes(this.#keys, boxes, log);
  }

  #replace(before: Pick<KubernetesCluster, "id" | "sealedKubeconfig">, sealedKubeconfig: string): Promise<number> {
    return this.#store.transaction(({ em }) => em.nativeUpdate(KubernetesCluster, before, { sealedKubeconfig }));
  }
}

/** A box does not open for another cluster than the one that it was made for. */
function purposeOf(clusterId: string): string {
  return JSON.stringify(["kubeconfig", clusterId]);
}
