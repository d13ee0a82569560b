import { type KubernetesClientOptions, openKubernetes } from "./kubernetes-client.ts";
import {
  type ClusterAccess,
  type ConnectionStep,
  type KubernetesApi,
  KubernetesFailure,
  type KubernetesVersion,
  NAMESPACES,
  NODES,
} from "./types.ts";

export interface ConnectionTestOptions extends Pick<KubernetesClientOptions, "log" | "lookup"> {
  signal: AbortSignal;
  /** For all of it; 10 s unless told. */
  timeoutMs?: number;
}

export interface ConnectionTest {
  version: KubernetesVersion;
  /** Null where the account may not list nodes, or the API does not tell how many there are. */
  nodeCount: number | null;
  /** Of one request, over a connection that is ready. */
  latencySeconds: number;
}

const TIMEOUT_MS = 10_000;

/**
 * Goes all the way to a cluster: name, connection, TLS, version, login, rights. Throws a KubernetesFailure, always UNAVAILABLE, whose
 * `step` is how far it came; CANCELLED with the signal.
 */
export async function testConnection(access: ClusterAccess, options: ConnectionTestOptions): Promise<ConnectionTest> {
  const { log, lookup, signal, timeoutMs = TIMEOUT_MS } = options;
  const endsAt = performance.now() + timeoutMs;
  const call = () => ({ signal, timeoutMs: Math.max(1, Math.ceil(endsAt - performance.now())) });
  const api = openKubernetes(access, { log, lookup, connections: 1, connectTimeoutMs: timeoutMs });
  try {
    const version = await atStep("VERSION", api.version(call()));
    const asked = performance.now();
    await atStep("AUTHORIZATION", api.list(NAMESPACES, { ...call(), limit: 1, metadataOnly: true }));
    const latencySeconds = (performance.now() - asked) / 1000;
    return { version, nodeCount: await atStep("REQUEST", countNodes(api, call())), latencySeconds };
  } finally {
    await api.close();
  }
}

/** Null where that is not to be known. One node comes along whole: of metadata alone older API servers do not tell how many remain. */
async function countNodes(api: KubernetesApi, call: { signal: AbortSignal; timeoutMs: number }): Promise<number | null> {
  try {
    const { items, continueToken, remainingItemCount } = await api.list(NODES, { ...call, limit: 1 });
    if (continueToken === null) return items.length;
    return remainingItemCount === null ? null : items.length + remainingItemCount;
  } catch (error) {
    if (error instanceof KubernetesFailure && error.reason === "Forbidden") return null;
    throw error;
  }
}

async function atStep<T>(step: ConnectionStep, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof KubernetesFailure ? unavailable(step, error) : error;
  }
}

/** Whatever it is for a single request: the cluster cannot be used. */
function unavailable(at: ConnectionStep, failure: KubernetesFailure): KubernetesFailure {
  const { reason = "ServerError", message, status, details } = failure;
  const step = failure.step === "REQUEST" ? at : failure.step;
  const options = { ...(status === null ? {} : { status }), details: { ...details, step }, cause: failure };
  if (reason === "Forbidden") {
    const manifest = "`fleetgraph cluster manifest` prints an account with the role that is needed.";
    return new KubernetesFailure("UNAVAILABLE", step, reason, `The login works, and may not do enough. ${message}. ${manifest}`, options);
  }
  // No API server lacks these, or has so much to say of its version.
  const isOther = reason === "NotFound" || (reason === "TooLarge" && at === "VERSION");
  return new KubernetesFailure("UNAVAILABLE", step, isOther ? "NotKubernetes" : reason, message, options);
}
