import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { newId } from "../../../kit/ids.ts";
import { checkId, checkName } from "../../../kit/input-checks.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { KubernetesCluster } from "../../entities/kubernetes-cluster.ts";
import type { AccessCheck, CheckedAccess } from "./access-check.ts";
import { changeCluster, checkRoom, deleteCluster, renewAccess, setPrometheusUrl, takeDefault } from "./cluster-changes.ts";
import { changedMeanwhile, clusterDeleted, clusterNotFound, nameTaken } from "./cluster-errors.ts";
import { checkClusterName, checkPrometheusUrl, notNull, type RawClusterPatch, type RawNewCluster } from "./cluster-input.ts";
import type { KubernetesClusterView } from "./cluster-types.ts";
import { clusterView } from "./cluster-view.ts";
import type { ClusterTransaction, ClusterWriter } from "./cluster-writer.ts";
import type { KubeconfigSecrets } from "./kubeconfig-secrets.ts";
import { newCluster } from "./new-cluster.ts";

const MAX_CONTEXT = 256;

/** What admins do with clusters. Whoever works with one hears of it by the events. */
export class KubernetesRegistry {
  readonly #writer: ClusterWriter;
  readonly #secrets: KubeconfigSecrets;
  readonly #check: AccessCheck;

  constructor(writer: ClusterWriter, secrets: KubeconfigSecrets, check: AccessCheck) {
    this.#writer = writer;
    this.#secrets = secrets;
    this.#check = check;
  }

  /**
   * Tests the connection, then stores the cluster; `force` stores it untested. The same clientRequestId makes it once. Rights: admin. Throws
   * INVALID_ARGUMENT (name, also a taken one; kubeconfig, context), UNAVAILABLE with details.step, RESOURCE_EXHAUSTED.
   */
  async create(ctx: RequestContext, raw: RawNewCluster): Promise<KubernetesClusterView> {
    requireRole(ctx.identity, "admin");
    const by = callerName(ctx.identity);
    const [name, clientRequestId] = [checkClusterName(raw.name), checkName("clientRequestId", raw.clientRequestId)];
    const [isDefault, enabled] = [raw.isDefault ?? false, raw.enabled ?? true];
    if (isDefault && !enabled) throw invalidArgument("isDefault", "A disabled cluster cannot be the default.");
    const before = await this.#writer.store.read((em) => madeOrTaken(em, clientRequestId, name));
    if (before) return before;
    const checked = this.#check.parse(raw.kubeconfig, checkContext(raw.context));
    if (!raw.force) await this.#check.test(ctx, checked);
    const id = newId("k8s");
    const given = { id, name, isDefault, enabled, context: checked.context, contexts: checked.contexts, clientRequestId, createdBy: by };
    const row = {
      ...given,
      sealedKubeconfig: this.#secrets.seal(id, checked.kubeconfig),
      discoverPrometheus: raw.discoverPrometheus ?? true,
    };
    const created = await this.#writer.registryTransaction(async (clusters) => {
      const made = await madeBefore(clusters.em, clientRequestId);
      if (made) return made;
      await checkRoom(clusters, name);
      if (isDefault) await takeDefault(clusters);
      return clusters.create(clusters.em.create(KubernetesCluster, newCluster(row)));
    });
    if (created.id === id) ctx.log.info({ kubernetesCluster: id, name, by }, "a Kubernetes cluster was registered");
    return created;
  }

  /**
   * Another kubeconfig or context is tested first, unless `force`; a new kubeconfig without a context is used with its current one. A Prometheus
   * URL stops discovery, clearing it begins it again. Rights: admin. Throws as `create`, NOT_FOUND, CONFLICT where somebody else changed
   * the access meanwhile, FAILED_PRECONDITION (DefaultCluster, ClusterDisabled).
   */
  async update(ctx: RequestContext, id: string, raw: RawClusterPatch): Promise<KubernetesClusterView> {
    requireRole(ctx.identity, "admin");
    const name = raw.name === undefined ? undefined : checkClusterName(raw.name);
    const prometheusUrl = raw.prometheusUrl === undefined ? undefined : checkPrometheusUrl(raw.prometheusUrl);
    const discoverPrometheus = notNull("discoverPrometheus", raw.discoverPrometheus);
    const intent = { name, isDefault: notNull("isDefault", raw.isDefault), enabled: notNull("enabled", raw.enabled) };
    const access = await this.#newAccess(ctx, id, raw);
    return this.#change(ctx, id, "changed", async (clusters, cluster) => {
      if (access !== null && cluster.revision !== access.revision) throw changedMeanwhile(id);
      return changeCluster(clusters, cluster, intent, () => {
        if (prometheusUrl !== undefined) setPrometheusUrl(cluster, prometheusUrl);
        if (discoverPrometheus !== undefined) cluster.discoverPrometheus = discoverPrometheus;
        if (access === null) return;
        Object.assign(cluster, { context: access.checked.context, contexts: access.checked.contexts, sealedKubeconfig: access.sealed });
        renewAccess(cluster);
      });
    });
  }

  /** Rights: admin. Gives its last state. Throws NOT_FOUND, FAILED_PRECONDITION (DefaultCluster). */
  delete(ctx: RequestContext, id: string): Promise<KubernetesClusterView> {
    return this.#change(ctx, id, "deleted", deleteCluster);
  }

  /** Rights: admin. Throws NOT_FOUND, FAILED_PRECONDITION (ClusterDisabled). */
  setDefault(ctx: RequestContext, id: string): Promise<KubernetesClusterView> {
    return this.#change(ctx, id, "made the default", (clusters, cluster) => changeCluster(clusters, cluster, { isDefault: true }));
  }

  /** Rights: admin. Throws NOT_FOUND. */
  enable(ctx: RequestContext, id: string): Promise<KubernetesClusterView> {
    return this.#change(ctx, id, "enabled", (clusters, cluster) => changeCluster(clusters, cluster, { enabled: true }));
  }

  /** Neither checked nor watched from now on. Rights: admin. Throws NOT_FOUND, FAILED_PRECONDITION (DefaultCluster). */
  disable(ctx: RequestContext, id: string): Promise<KubernetesClusterView> {
    return this.#change(ctx, id, "disabled", (clusters, cluster) => changeCluster(clusters, cluster, { enabled: false }));
  }

  async #change(
    ctx: RequestContext,
    id: string,
    what: string,
    change: (clusters: ClusterTransaction, cluster: KubernetesCluster) => Promise<KubernetesClusterView>,
  ): Promise<KubernetesClusterView> {
    requireRole(ctx.identity, "admin");
    checkId("id", id);
    const changed = await this.#writer.registryTransaction(async (clusters) => {
      const cluster = await clusters.lock(id);
      if (cluster === null) throw clusterNotFound(id);
      return change(clusters, cluster);
    });
    ctx.log.info({ kubernetesCluster: id, name: changed.name, by: callerName(ctx.identity) }, `a Kubernetes cluster was ${what}`);
    return changed;
  }

  /** Null where the access stays. `revision`: of the access that it replaces. */
  async #newAccess(ctx: RequestContext, id: string, raw: RawClusterPatch): Promise<NewAccess | null> {
    const given = notNull("kubeconfig", raw.kubeconfig);
    if (given === undefined && raw.context === undefined) return null;
    checkId("id", id);
    const replaced = given === undefined ? await this.#secrets.open(ctx, id, "to use another context of it") : await this.#revision(id);
    if (replaced === null) throw clusterNotFound(id);
    const checked = this.#check.parse(given ?? replaced.kubeconfig, checkContext(raw.context));
    if (!raw.force) await this.#check.test(ctx, checked);
    return { checked, sealed: this.#secrets.seal(id, checked.kubeconfig), revision: replaced.revision };
  }

  async #revision(id: string): Promise<{ kubeconfig: string; revision: number } | null> {
    const cluster = await this.#writer.store.read((em) => em.findOne(KubernetesCluster, { id, deletedAt: null }));
    return cluster && { kubeconfig: "", revision: cluster.revision };
  }
}

interface NewAccess {
  checked: CheckedAccess;
  sealed: string;
  revision: number;
}

/** Null: the kubeconfig's current one. */
function checkContext(context: string | null | undefined): string | null {
  return checkName("context", context, MAX_CONTEXT);
}

/** As `madeBefore`, before the connection is tested. Throws INVALID_ARGUMENT for a name that somebody else has. */
async function madeOrTaken(em: EntityManager, clientRequestId: string | null, name: string): Promise<KubernetesClusterView | null> {
  const isTaken = (await em.count(KubernetesCluster, { name, deletedAt: null })) > 0;
  // In this order: whoever has the name may be what the same request has made just now.
  const made = await madeBefore(em, clientRequestId);
  if (isTaken && made === null) throw nameTaken(name);
  return made;
}

/** What the same request made before; null where it is new. Throws NOT_FOUND where that was deleted since. */
async function madeBefore(em: EntityManager, clientRequestId: string | null): Promise<KubernetesClusterView | null> {
  const cluster = clientRequestId === null ? null : await em.findOne(KubernetesCluster, { clientRequestId });
  if (cluster && cluster.deletedAt !== null) throw clusterDeleted(cluster.id);
  return cluster && clusterView(cluster);
}
