import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { readCluster, readCredentials } from "./cluster-access.ts";
import { incomplete, kubeconfigError } from "./kubeconfig-errors.ts";
import { KubeconfigMapping } from "./kubeconfig-mapping.ts";
import { readKubeconfigText } from "./kubeconfig-text.ts";
import type { ClusterAccess, ClusterCredentials } from "./types.ts";

/** More take long to look at, and nobody looks at them. */
const MAX_CONTEXTS = 200;

/** A context for people: nothing of it is secret. */
export interface KubeconfigContext {
  name: string;
  cluster: string;
  user: string;
  namespace: string | null;
  /** Null where it cannot be used. */
  server: string | null;
  /** Null where it cannot be used. */
  authentication: ClusterCredentials["kind"] | null;
  usable: boolean;
  /** Why it is not, and what to do. */
  problem: string | null;
}

type Reading = { context: KubeconfigContext; access: ClusterAccess } | { context: KubeconfigContext; problem: FleetError };

/**
 * What a kubeconfig (YAML or JSON, plain or in base64, at most 1 MiB) says. INVALID_ARGUMENT on "kubeconfig" where nothing can be read
 * from it. What is wrong with one of its contexts, such as a program to run or a file to read, is told by that context.
 */
export function parseKubeconfig(raw: string): Kubeconfig {
  return new Kubeconfig(new KubeconfigMapping("", readKubeconfigText(raw)));
}

export class Kubeconfig {
  /** Null where the kubeconfig names none. */
  readonly currentContext: string | null;
  readonly #readings = new Map<string, Reading>();

  constructor(root: KubeconfigMapping) {
    const contexts = root.named("contexts");
    const clusters = root.named("clusters");
    const users = root.named("users");
    if (contexts.size === 0) throw incomplete("contexts", "The kubeconfig has no contexts.");
    if (Math.max(contexts.size, clusters.size, users.size) > MAX_CONTEXTS) {
      const shorter = "`kubectl config view --minify --flatten --raw` prints the current one alone.";
      throw kubeconfigError("KubeconfigTooLarge", "contexts", `A kubeconfig has at most ${MAX_CONTEXTS} contexts. ${shorter}`);
    }
    this.currentContext = root.text("current-context");
    for (const [name, entry] of contexts) this.#readings.set(name, readContext(name, entry.mapping("context"), clusters, users));
  }

  get contexts(): KubeconfigContext[] {
    return [...this.#readings.values()].map(({ context }) => context);
  }

  /** How the context's cluster is reached; null means the current context, or the only one. INVALID_ARGUMENT with the context's problem. */
  access(context: string | null): ClusterAccess {
    const reading = this.#readings.get(context ?? this.#default());
    if (!reading) {
      const place = context === null ? "current-context" : "contexts";
      throw incomplete(place, `The kubeconfig has no context of the name ${JSON.stringify((context ?? this.#default()).slice(0, 256))}.`);
    }
    if ("problem" in reading) throw reading.problem;
    return reading.access;
  }

  #default(): string {
    if (this.currentContext !== null) return this.currentContext;
    const [only, ...others] = this.#readings.keys();
    if (only !== undefined && others.length === 0) return only;
    throw incomplete("current-context", "The kubeconfig names no current context: name the one to use.");
  }
}

function readContext(
  name: string,
  entry: KubeconfigMapping,
  clusters: ReadonlyMap<string, KubeconfigMapping>,
  users: ReadonlyMap<string, KubeconfigMapping>,
): Reading {
  const context: KubeconfigContext = {
    name,
    cluster: "",
    user: "",
    namespace: null,
    server: null,
    authentication: null,
    usable: false,
    problem: null,
  };
  try {
    context.namespace = entry.text("namespace");
    context.cluster = entry.name("cluster");
    context.user = entry.name("user");
    const server = readCluster(entryOf(clusters, "cluster", context.cluster, entry));
    context.server = server.server;
    const credentials = readCredentials(entryOf(users, "user", context.user, entry));
    context.authentication = credentials.kind;
    context.usable = true;
    return { context, access: { context: name, ...server, credentials } };
  } catch (error) {
    const problem = FleetError.from(error);
    context.problem = problem.message;
    return { context, problem };
  }
}

function entryOf(
  entries: ReadonlyMap<string, KubeconfigMapping>,
  kind: "cluster" | "user",
  name: string,
  context: KubeconfigMapping,
): KubeconfigMapping {
  const entry = entries.get(name);
  if (entry) return entry.mapping(kind);
  throw incomplete(context.at(kind), `The kubeconfig has no ${kind} of the name ${JSON.stringify(name)}.`);
}
