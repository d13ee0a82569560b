import { randomBytes } from "node:crypto";
import type { Role } from "../../platform/auth/identity.ts";
import type { ClustersFleet, ClustersReplica } from "./clusters-fleet.ts";
import { graphqlRefusal } from "./clusters-fleet.ts";
import { writeKubeconfig } from "./kubernetes/kubeconfig.ts";

/** What the tests look at of a cluster. */
export const CLUSTER_FIELDS = `
  id name isDefault enabled context healthStatus healthReason healthSince lastConnectedAt version nodeCount podCount createdAt updatedAt
  contexts { name cluster user namespace server authentication usable problem } prometheus { url source state }`;

/** A cluster as the answers of tests show it. */
export type ShownCluster = {
  id: string;
  name: string;
  isDefault: boolean;
  enabled: boolean;
  context: string;
  healthStatus: string;
  [field: string]: unknown;
};

type Mutation = "create" | "update" | "delete" | "setDefault" | "enable" | "disable";

/** The operations on Kubernetes clusters, by GraphQL, as a user of a role. */
export class KubernetesClustersUser {
  readonly #fleet: ClustersFleet;
  readonly #replica: ClustersReplica;
  readonly #role: Role | null;

  constructor(fleet: ClustersFleet, replica: ClustersReplica, role: Role | null = "admin") {
    this.#fleet = fleet;
    this.#replica = replica;
    this.#role = role;
  }

  /** Gives the cluster; throws what it is refused with. */
  async call(mutation: Mutation, input: Record<string, unknown>): Promise<ShownCluster> {
    const result = await this.#run(mutation, input);
    if (result.errors) throw Object.assign(new Error(result.errors[0]?.message), graphqlRefusal(result));
    return (result.data?.[`${mutation}KubernetesCluster`] as { kubernetesCluster: ShownCluster }).kubernetesCluster;
  }

  /** The extensions of the error. */
  async refused(mutation: Mutation, input: Record<string, unknown>): Promise<Record<string, unknown>> {
    return graphqlRefusal(await this.#run(mutation, input));
  }

  /** Disabled and untested unless told: nothing happens to it by itself. */
  create(name: string, input: Record<string, unknown> = {}): Promise<ShownCluster> {
    return this.call("create", { name, kubeconfig: unreachableKubeconfig(), force: true, enabled: false, ...input });
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests read what they asked for
  async query(query: string, variables: Record<string, unknown> = {}): Promise<any> {
    const result = await this.#fleet.graphql(this.#replica, this.#role, query, variables);
    if (result.errors) throw Object.assign(new Error(result.errors[0]?.message), graphqlRefusal(result));
    return result.data;
  }

  /** By name, on one page. */
  async list(filter: Record<string, unknown> | null = null): Promise<ShownCluster[]> {
    const query = `query ($filter: KubernetesClusterFilter) { kubernetesClusters(filter: $filter, first: 100) { nodes { ${CLUSTER_FIELDS} } } }`;
    return (await this.query(query, { filter })).kubernetesClusters.nodes;
  }

  async #run(mutation: Mutation, input: Record<string, unknown>) {
    const name = `${mutation}KubernetesCluster`;
    const type = `${mutation.charAt(0).toUpperCase()}${name.slice(1)}Input`;
    const query = `mutation ($input: ${type}!) { ${name}(input: $input) { kubernetesCluster { ${CLUSTER_FIELDS} } } }`;
    return this.#fleet.graphql(this.#replica, this.#role, query, { input });
  }
}

/** Nobody listens there; the token is `token`, or random. */
export function unreachableKubeconfig(options: { token?: string; context?: string } = {}): string {
  const token = options.token ?? randomBytes(24).toString("base64url");
  return writeKubeconfig({ server: "https://127.0.0.1:1", credentials: { token }, ...(options.context && { context: options.context }) });
}
