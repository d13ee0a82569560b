import type { ErrorCode } from "../../../platform/errors/codes.ts";
import { type ErrorDetails, FleetError } from "../../../platform/errors/fleet-error.ts";

/** How one cluster's API is reached: one context of a kubeconfig, complete in itself. Holds secrets: never logged, never shown. */
export interface ClusterAccess {
  /** The context's name. */
  context: string;
  /** "https://host:port/prefix", without a slash at its end. */
  server: string;
  /** Instead of the server's name in its certificate. */
  tlsServerName: string | null;
  /** Null: the system's own authorities. */
  caPem: string | null;
  insecureSkipTlsVerify: boolean;
  /** "http://host:port" of an HTTP proxy that tunnels (CONNECT). */
  proxyUrl: string | null;
  credentials: ClusterCredentials;
}

export type ClusterCredentials =
  | { kind: "TOKEN"; token: string }
  | { kind: "CLIENT_CERTIFICATE"; certificatePem: string; keyPem: string }
  | { kind: "BASIC"; username: string; password: string }
  | { kind: "NONE" };

/** A kind of object as the API's paths name it. */
export interface ResourceKind {
  /** "" for the core group. */
  group: string;
  version: string;
  /** Plural: "pods". */
  plural: string;
  namespaced: boolean;
}

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: Array<{ kind: string; name: string; uid: string; controller?: boolean }>;
}

/** What every object of Kubernetes has; callers name what they read beyond it. */
export interface KubernetesObject {
  kind?: string;
  metadata: ObjectMeta;
}

export interface ObjectFilter {
  /** Null: all of them. */
  namespace: string | null;
  labelSelector: string | null;
  fieldSelector: string | null;
}

export interface ListOptions extends Partial<ObjectFilter> {
  /** Objects of one page; 500 unless told. */
  limit?: number;
  /** The API's own token of the next page. */
  continueToken?: string;
  /** Only metadata is sent (PartialObjectMetadata). */
  metadataOnly?: boolean;
  /** As it was exactly then (resourceVersionMatch=Exact); 410 where that is no longer kept. Not to be told again with a continueToken. */
  resourceVersion?: string;
  signal: AbortSignal;
  /** 10 s unless told. */
  timeoutMs?: number;
}

export interface ListPage<T> {
  items: T[];
  /** Of the list: where a watch goes on. */
  resourceVersion: string;
  /** Null on the last page. */
  continueToken: string | null;
  /** How many are left behind this page, where the API tells. */
  remainingItemCount: number | null;
}

export interface WatchRequest extends Partial<ObjectFilter> {
  /** Behind it. */
  resourceVersion: string;
  metadataOnly?: boolean;
  signal: AbortSignal;
  /** Sent as timeoutSeconds: 300–600 s at random unless told. The client gives up a little later by itself. */
  timeoutSeconds?: number;
  /** Called when the API has taken the watch, before there is anything to tell. */
  onOpen?: () => void;
}

/** One line of a watch. On BOOKMARK only the resourceVersion counts. */
export interface WatchLine<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  object: T;
}

/** At which step of reaching a cluster something failed. */
export const CONNECTION_STEPS = ["DNS", "TCP", "TLS", "AUTHENTICATION", "AUTHORIZATION", "VERSION", "REQUEST"] as const;
export type ConnectionStep = (typeof CONNECTION_STEPS)[number];

export interface KubernetesFailureOptions {
  status?: number;
  cause?: unknown;
  details?: ErrorDetails;
}

/**
 * A call to a cluster that failed. `reason` is one of: DnsFailed, ConnectionRefused, HostUnreachable, ConnectTimeout, ProxyFailed,
 * TlsFailed, CertificateExpired, CertificateUntrusted, CertificateNameMismatch, ClientCertificateRefused, Unauthorized, Forbidden,
 * NotKubernetes, RequestTimeout, ConnectionLost, TooLarge, Gone, NotFound, Conflict, Invalid, TooManyRequests, ServerError, Closed,
 * Internal. Its message holds no secret and no address. `details.retryAfterSeconds` is there where the API named it.
 */
export class KubernetesFailure extends FleetError {
  readonly step: ConnectionStep;
  /** HTTP's, where the API answered. */
  readonly status: number | null;

  constructor(code: ErrorCode, step: ConnectionStep, reason: string, message: string, options: KubernetesFailureOptions = {}) {
    super(code, message, { reason, details: { step, ...options.details }, cause: options.cause });
    this.step = step;
    this.status = options.status ?? null;
  }

  /** 410: what was asked for is no longer kept (an expired continue token or resourceVersion). */
  get isGone(): boolean {
    return this.status === 410;
  }
}

export interface KubernetesVersion {
  /** "v1.31.4". */
  gitVersion: string;
  major: string;
  minor: string;
  platform: string;
}

export interface RequestOptions {
  query?: Record<string, string | number | boolean | undefined>;
  /** "application/json" unless told. */
  accept?: string;
  signal: AbortSignal;
  /** 10 s unless told. */
  timeoutMs?: number;
  /** Of the answer; 16 MiB unless told. Beyond it the failure is TooLarge. */
  maxBytes?: number;
}

export interface WriteOptions extends RequestOptions {
  body: unknown;
  /** "application/json" unless told; "application/apply-patch+yaml" for a server-side apply. */
  contentType?: string;
}

/** One cluster's API, over a few kept connections. Everything has a deadline; every failure is a KubernetesFailure. */
export interface KubernetesApi {
  /** A path below the server: "/api/v1/nodes/one". */
  get<T>(path: string, options: RequestOptions): Promise<T>;
  write<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, options: WriteOptions): Promise<T>;
  /** An answer as it comes, such as a pod's log. Ends with the signal, without an error. No deadline but for its beginning. */
  stream(path: string, options: RequestOptions): Promise<AsyncIterable<Buffer>>;
  /** As `get`, of an answer that need not be JSON. */
  text(path: string, options: RequestOptions): Promise<{ status: number; body: string }>;
  list<T extends KubernetesObject>(kind: ResourceKind, options: ListOptions): Promise<ListPage<T>>;
  /** Ends when the API ends it, which is no error, or with the signal. Throws KubernetesFailure; `isGone` for 410, also in the middle. */
  watch<T extends KubernetesObject>(kind: ResourceKind, request: WatchRequest): AsyncIterableIterator<WatchLine<T>>;
  version(options: { signal: AbortSignal; timeoutMs?: number }): Promise<KubernetesVersion>;
  /** Ends what is under way, and the connections. */
  close(): Promise<void>;
}

export const PODS: ResourceKind = { group: "", version: "v1", plural: "pods", namespaced: true };
export const NODES: ResourceKind = { group: "", version: "v1", plural: "nodes", namespaced: false };
export const NAMESPACES: ResourceKind = { group: "", version: "v1", plural: "namespaces", namespaced: false };
export const SERVICES: ResourceKind = { group: "", version: "v1", plural: "services", namespaced: true };
export const EVENTS: ResourceKind = { group: "", version: "v1", plural: "events", namespaced: true };
export const DEPLOYMENTS: ResourceKind = { group: "apps", version: "v1", plural: "deployments", namespaced: true };
