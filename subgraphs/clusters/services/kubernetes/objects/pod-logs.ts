import { requireRole } from "../../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../../platform/request-context.ts";
import { type KubernetesApi, KubernetesFailure } from "../../../../kit/kubernetes/types.ts";
import { RequestScope } from "../../../../kit/request-scope.ts";
import type { ClusterClients } from "../cluster-clients.ts";
import { LogLines, NewestLines } from "./log-lines.ts";
import { failureOf } from "./object-lists.ts";
import { checkPodLogRequest, type PodLogRequest, podLogQuery, podPath, type RawPodLogRequest } from "./pod-log-input.ts";
import type { RawPod } from "./pod-object.ts";

/** Until the kubelet answers, through the API server. */
const BEGIN_MS = 5_000;
const READ_MS = 10_000;
/** Of one answer to `read`. */
const MAX_CHARACTERS = 1_024 * 1_024;
/** What `read` takes from the cluster to get there: the newest lines come last. */
const MAX_BYTES = 32 * 1_024 * 1_024;

export interface PodLog {
  lines: string[];
  /** Older lines, or the ends of long ones, were left out. */
  truncated: boolean;
}

/** Lines that came together. */
export interface PodLogBatch extends PodLog {
  ended: boolean;
  /** Of the end: ContainerTerminated, PodDeleted, LogEnded. */
  reason: string | null;
}

/** Logs of clusters' pods, read from their kubelets for each request. Rights: operator. */
export class PodLogs {
  readonly #clients: ClusterClients;

  constructor(clients: ClusterClients) {
    this.#clients = clients;
  }

  /**
   * The newest lines. Throws INVALID_ARGUMENT, NOT_FOUND, FAILED_PRECONDITION (ClusterDisabled, ContainerWaiting, NoPreviousContainer), UNAVAILABLE,
   * DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED (LogTooLong).
   */
  async read(ctx: RequestContext, clusterId: string, raw: RawPodLogRequest): Promise<PodLog> {
    requireRole(ctx.identity, "operator");
    const request = checkPodLogRequest(raw);
    const { api } = await this.#clients.api(clusterId);
    const scope = new RequestScope({ signal: ctx.signal, deadlineMs: READ_MS });
    const lines = new LogLines();
    const newest = new NewestLines(MAX_CHARACTERS);
    try {
      let left = MAX_BYTES;
      for await (const bytes of open(api, clusterId, request, false, scope.signal)) {
        left -= bytes.length;
        if (left < 0) throw tooLong();
        newest.push(lines.push(bytes));
      }
      scope.signal.throwIfAborted();
    } finally {
      scope.close();
    }
    newest.push(lines.end());
    return { lines: newest.lines(), truncated: newest.truncated || lines.truncated > 0 };
  }

  /**
   * The newest lines, then what is written, at the reader's pace; one last batch tells that it ended, and why. Throws INVALID_ARGUMENT at once,
   * with the first batch what `read` throws, and what became of the cluster's client.
   */
  follow(ctx: RequestContext, clusterId: string, raw: RawPodLogRequest): AsyncGenerator<PodLogBatch> {
    requireRole(ctx.identity, "operator");
    return this.#follow(ctx, clusterId, checkPodLogRequest(raw));
  }

  async *#follow(ctx: RequestContext, clusterId: string, request: PodLogRequest): AsyncGenerator<PodLogBatch> {
    const dropped = new AbortController();
    const undo = this.#clients.onDropped((id, why) => {
      if (id === clusterId) dropped.abort(why);
    });
    const lines = new LogLines();
    try {
      const { api } = await this.#clients.api(clusterId);
      const signal = AbortSignal.any([ctx.signal, dropped.signal]);
      let truncated = 0;
      for await (const bytes of open(api, clusterId, request, true, signal)) {
        const complete = lines.push(bytes);
        if (complete.length > 0) yield { lines: complete, truncated: lines.truncated > truncated, ended: false, reason: null };
        truncated = lines.truncated;
      }
      dropped.signal.throwIfAborted();
      if (ctx.signal.aborted) return;
      yield { lines: lines.end(), truncated: lines.truncated > truncated, ended: true, reason: await endReason(api, request, signal) };
    } catch (error) {
      // What became of the cluster counts, not how its connection ended.
      dropped.signal.throwIfAborted();
      throw error;
    } finally {
      undo();
    }
  }
}

async function* open(
  api: KubernetesApi,
  clusterId: string,
  request: PodLogRequest,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  try {
    yield* await api.stream(`${podPath(request)}/log`, { query: podLogQuery(request, follow), signal, timeoutMs: BEGIN_MS });
  } catch (error) {
    throw error instanceof KubernetesFailure ? (stateProblem(error) ?? failureOf(clusterId, error)) : error;
  }
}

function tooLong(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `These lines are more than ${MAX_BYTES} bytes: ask for fewer (tailLines, sinceSeconds).`, {
    reason: "LogTooLong",
    details: { maxBytes: MAX_BYTES },
  });
}

/** What the API calls a bad request, though it is the container that is not there. */
function stateProblem({ code, message, details }: KubernetesFailure): FleetError | null {
  if (code !== "INVALID_ARGUMENT") return null;
  if (message.includes("is waiting to start"))
    return new FleetError("FAILED_PRECONDITION", message, { reason: "ContainerWaiting", details });
  if (!/previous terminated container .* not found/.test(message)) return null;
  return new FleetError("FAILED_PRECONDITION", message, { reason: "NoPreviousContainer", details });
}

/** As far as the cluster tells. */
async function endReason(api: KubernetesApi, request: PodLogRequest, signal: AbortSignal): Promise<string> {
  try {
    const pod = await api.get<RawPod>(podPath(request), { signal, timeoutMs: BEGIN_MS });
    if (pod.metadata.deletionTimestamp !== undefined) return "PodDeleted";
    const statuses = pod.status?.containerStatuses ?? [];
    const { state } = statuses.find(({ name }) => request.container === null || name === request.container) ?? {};
    return state?.terminated ? "ContainerTerminated" : "LogEnded";
  } catch (error) {
    return error instanceof KubernetesFailure && error.code === "NOT_FOUND" ? "PodDeleted" : "LogEnded";
  }
}
