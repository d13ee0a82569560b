import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { AccessCheck } from "../access-check.ts";
import { clusterNotFound } from "../cluster-errors.ts";
import type { KubernetesClusterQueries } from "../cluster-queries.ts";
import type { KubeconfigSecrets } from "../kubeconfig-secrets.ts";

export interface TestedConnection {
  clusterId: string;
  clusterName: string;
  connected: true;
  kubernetesVersion: string;
  /** Null: the cluster's account may not list nodes. */
  nodeCount: number | null;
  latencySeconds: number;
  testedAt: Date;
}

export interface ConnectionTestsParts {
  queries: KubernetesClusterQueries;
  secrets: KubeconfigSecrets;
  access: AccessCheck;
  /** Told of clusters that were reached. */
  onReached(id: string): void;
}

/** Tests of the connection to stored clusters, when somebody asks. */
export class ConnectionTests {
  readonly #parts: ConnectionTestsParts;

  constructor(parts: ConnectionTestsParts) {
    this.#parts = parts;
  }

  /**
   * Goes all the way to the cluster over a connection of its own; of a disabled one, too. Rights: viewer. Throws NOT_FOUND, UNAVAILABLE with
   * details.step, FAILED_PRECONDITION (SecretKeyMissing, SecretDamaged).
   */
  async test(ctx: RequestContext, id: string): Promise<TestedConnection> {
    const { queries, secrets, access, onReached } = this.#parts;
    const { name } = await queries.get(ctx, id);
    const opened = await secrets.open(ctx, id, "to test the connection");
    if (opened === null) throw clusterNotFound(id);
    const { version, nodeCount, latencySeconds } = await access.test(ctx, access.parse(opened.kubeconfig, opened.context));
    onReached(id);
    return {
      ...{ clusterId: id, clusterName: name, connected: true, kubernetesVersion: version.gitVersion },
      ...{ nodeCount, latencySeconds, testedAt: new Date() },
    };
  }
}
