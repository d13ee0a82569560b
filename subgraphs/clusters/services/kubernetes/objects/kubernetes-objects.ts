import { requireRole } from "../../../../../platform/auth/identity.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import type { Store } from "../../../../kit/store/orm.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import { HostLinks, type MachineHints } from "./host-links.ts";
import { ObjectLists } from "./object-lists.ts";
import { ObjectWatches } from "./object-watches.ts";
import type { EnvironmentVariable } from "./pod-container.ts";
import { PodLogs } from "./pod-logs.ts";

export interface KubernetesObjectsParts {
  store: Store;
  clients: ClusterClients;
  /** The control plane itself. */
  ctx: RequestContext;
}

/** What is in clusters: read from them for each request, and watched for those who subscribe. Nothing of it is stored. */
export class KubernetesObjects {
  readonly lists: ObjectLists;
  readonly watches: ObjectWatches;
  readonly logs: PodLogs;
  readonly #links: HostLinks;

  constructor({ store, clients, ctx }: KubernetesObjectsParts) {
    this.lists = new ObjectLists(clients);
    this.watches = new ObjectWatches(clients, ctx.log);
    this.logs = new PodLogs(clients);
    this.#links = new HostLinks(store);
  }

  /** The id of the Node that a Kubernetes node runs on; null where none is known for certain. Rights: viewer. */
  async hostOf(ctx: RequestContext, hints: MachineHints): Promise<string | null> {
    requireRole(ctx.identity, "viewer");
    return this.#links.hostOf(hints);
  }

  /** A variable's value as the pod states it; null where it comes from elsewhere, which is not read. Rights: operator. Throws FORBIDDEN. */
  envValue(ctx: RequestContext, { literal }: EnvironmentVariable): string | null {
    if (literal !== null) requireRole(ctx.identity, "operator");
    return literal;
  }

  stop(): void {
    this.watches.stop();
  }
}
