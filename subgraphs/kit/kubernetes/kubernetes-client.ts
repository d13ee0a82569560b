import type { Logger } from "../../../platform/observability/log.ts";
import { parseJson, readLines, readText } from "./answer-body.ts";
import { answerFailure, isApiStatus, notKubernetes } from "./answer-failures.ts";
import { brokenFailure, lateFailure } from "./connect-failures.ts";
import { loginFailure } from "./login-failures.ts";
import { resourcePath } from "./resource-path.ts";
import { type Answer, Transport, type TransportOptions, type TransportRequest } from "./transport.ts";
import type {
  ClusterAccess,
  ClusterCredentials,
  KubernetesApi,
  KubernetesFailure,
  KubernetesObject,
  KubernetesVersion,
  ListOptions,
  ListPage,
  RequestOptions,
  ResourceKind,
  WatchLine,
  WatchRequest,
  WriteOptions,
} from "./types.ts";

export interface KubernetesClientOptions extends TransportOptions {
  log: Logger;
  /** How much longer than its timeoutSeconds a watch may last until the client ends it; 15 s unless told. */
  watchGraceMs?: number | undefined;
  /** A longer line of a watch is TooLarge; 8 MiB unless told. */
  maxLineBytes?: number | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 16 * 1024 ** 2;
const MAX_LINE_BYTES = 8 * 1024 ** 2;
const MAX_ERROR_BYTES = 64 * 1024;
const PAGE = 500;
const WATCH_GRACE_MS = 15_000;
const JSON_TYPE = "application/json";
const LINE_TYPES = new Set<unknown>(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]);

/** Opens a cluster's API. Connects when it is first asked; `close` ends it. */
export function openKubernetes(access: ClusterAccess, options: KubernetesClientOptions): KubernetesApi {
  return new KubernetesClient(access, options);
}

class KubernetesClient implements KubernetesApi {
  readonly #transport: Transport;
  readonly #credentials: ClusterCredentials;
  readonly #log: Logger;
  readonly #watchGraceMs: number;
  readonly #maxLineBytes: number;

  constructor(access: ClusterAccess, options: KubernetesClientOptions) {
    this.#transport = new Transport(access, options);
    this.#credentials = access.credentials;
    this.#log = options.log;
    this.#watchGraceMs = options.watchGraceMs ?? WATCH_GRACE_MS;
    this.#maxLineBytes = options.maxLineBytes ?? MAX_LINE_BYTES;
  }

  async get<T>(path: string, options: RequestOptions): Promise<T> {
    return await this.#json<T>(requestOf("GET", path, options), options.maxBytes);
  }

  async write<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, options: WriteOptions): Promise<T> {
    const request = requestOf(method, path, options);
    const headers = { ...request.headers, "content-type": options.contentType ?? JSON_TYPE };
    return await this.#json<T>({ ...request, headers, body: JSON.stringify(options.body) }, options.maxBytes);
  }

  async text(path: string, options: RequestOptions): Promise<{ status: number; body: string }> {
    return await this.#transport.exchange(requestOf("GET", path, { accept: "*/*", ...options }), async (answer) => ({
      status: answer.statusCode,
      body: await readText(answer, options.maxBytes ?? MAX_ANSWER_BYTES),
    }));
  }

  async stream(path: string, options: RequestOptions): Promise<AsyncIterable<Buffer>> {
    const answer = await this.#open(requestOf("GET", path, { accept: "*/*", ...options }));
    return chunksOf(answer, options.signal);
  }

  async list<T extends KubernetesObject>(kind: ResourceKind, options: ListOptions): Promise<ListPage<T>> {
    const { namespace, labelSelector, fieldSelector, limit = PAGE, continueToken, resourceVersion, metadataOnly } = options;
    const exactly = resourceVersion === undefined || continueToken !== undefined ? {} : { resourceVersion, resourceVersionMatch: "Exact" };
    const page = await this.get<ApiList<T>>(resourcePath(kind, namespace ?? null), {
      query: { limit, continue: continueToken, ...exactly, ...selectors(labelSelector, fieldSelector) },
      accept: metadataOnly ? metadataType("PartialObjectMetadataList") : JSON_TYPE,
      signal: options.signal,
      ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    });
    if (typeof page.metadata?.resourceVersion !== "string") throw notKubernetes("its answer is no list");
    const { resourceVersion: listed, continue: next, remainingItemCount = null } = page.metadata;
    return { items: page.items ?? [], resourceVersion: listed, continueToken: next || null, remainingItemCount };
  }

  async *watch<T extends KubernetesObject>(kind: ResourceKind, request: WatchRequest): AsyncIterableIterator<WatchLine<T>> {
    const { namespace, labelSelector, fieldSelector, resourceVersion, metadataOnly, signal } = request;
    const timeoutSeconds = request.timeoutSeconds ?? 300 + Math.floor(Math.random() * 301);
    const deadlineMs = timeoutSeconds * 1000 + this.#watchGraceMs;
    const over = new AbortController();
    const onSignal = () => over.abort(signal.reason);
    const timer = setTimeout(() => over.abort(lateFailure("REQUEST", deadlineMs)), deadlineMs);
    signal.addEventListener("abort", onSignal, { once: true });
    try {
      signal.throwIfAborted();
      const path = resourcePath(kind, namespace ?? null);
      const watching = { watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds };
      const answer = await this.#open(
        requestOf("GET", path, {
          query: { ...watching, ...selectors(labelSelector, fieldSelector) },
          accept: metadataOnly ? metadataType("PartialObjectMetadata") : JSON_TYPE,
          signal: over.signal,
          timeoutMs: Math.min(TIMEOUT_MS, deadlineMs),
        }),
      );
      request.onOpen?.();
      for await (const line of readLines(answer.body, this.#maxLineBytes)) yield watchLine<T>(line);
    } catch (error) {
      if (signal.aborted) return;
      over.signal.throwIfAborted();
      const failure = brokenFailure(error);
      this.#log.debug({ kind: kind.plural, reason: failure.reason }, "a watch broke off");
      throw failure;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onSignal);
      over.abort();
    }
  }

  async version(options: { signal: AbortSignal; timeoutMs?: number }): Promise<KubernetesVersion> {
    const { gitVersion, major, minor, platform } = await this.get<Partial<KubernetesVersion>>("/version", {
      ...options,
      maxBytes: 64 * 1024,
    });
    if (typeof gitVersion !== "string") throw notKubernetes("its /version names no version");
    return {
      gitVersion: gitVersion.slice(0, 100),
      major: String(major ?? ""),
      minor: String(minor ?? ""),
      platform: String(platform ?? ""),
    };
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #json<T>(request: TransportRequest, maxBytes = MAX_ANSWER_BYTES): Promise<T> {
    return await this.#transport.exchange(request, async (answer) => {
      if (!isGood(answer)) throw await this.#failureOf(answer);
      const value = parseJson(await readText(answer, maxBytes));
      if (typeof value !== "object" || value === null) throw notKubernetes("its answer is no JSON");
      return value as T;
    });
  }

  async #open(request: TransportRequest): Promise<Answer> {
    const answer = await this.#transport.open(request);
    if (isGood(answer)) return answer;
    const given = setTimeout(() => answer.body.destroy(), request.timeoutMs);
    try {
      throw await this.#failureOf(answer);
    } finally {
      clearTimeout(given);
      answer.body.destroy();
    }
  }

  /** Reads what an answer other than 2xx says. */
  async #failureOf(answer: Answer): Promise<KubernetesFailure> {
    const { statusCode, headers } = answer;
    const text = await readText(answer, MAX_ERROR_BYTES).catch(() => "");
    if (statusCode === 401) return loginFailure(this.#credentials, new Date());
    const retryAfter = headers["retry-after"];
    return answerFailure(statusCode, parseJson(text), Array.isArray(retryAfter) ? retryAfter[0] : retryAfter);
  }
}

interface ApiList<T> {
  metadata?: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  items?: T[];
}

function requestOf(method: TransportRequest["method"], path: string, options: RequestOptions): TransportRequest {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) query.set(name, String(value));
  }
  return {
    method,
    path: query.size === 0 ? path : `${path}?${query}`,
    headers: { accept: options.accept ?? JSON_TYPE },
    signal: options.signal,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
  };
}

function selectors(labelSelector: string | null | undefined, fieldSelector: string | null | undefined) {
  return { labelSelector: labelSelector || undefined, fieldSelector: fieldSelector || undefined };
}

function metadataType(kind: "PartialObjectMetadata" | "PartialObjectMetadataList"): string {
  return `${JSON_TYPE};as=${kind};g=meta.k8s.io;v=v1,${JSON_TYPE}`;
}

function isGood({ statusCode }: Answer): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function watchLine<T>(line: { type?: unknown; object?: unknown }): WatchLine<T> {
  const { type, object } = line;
  if (type === "ERROR" && isApiStatus(object)) throw answerFailure(object.code ?? 500, object);
  if (!LINE_TYPES.has(type) || typeof object !== "object" || object === null) throw notKubernetes("its events are of no known form");
  return line as WatchLine<T>;
}

async function* chunksOf({ body }: Answer, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const chunk of body) yield chunk;
  } catch (error) {
    if (signal.aborted) return;
    throw brokenFailure(error);
  }
}
