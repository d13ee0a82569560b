import { checkInteger } from "../../../../kit/input-checks.ts";
import { checkLabelName, checkObjectName } from "./object-filter.ts";

export interface RawPodLogRequest {
  namespace: string;
  pod: string;
  container?: string | null;
  tailLines?: number | null;
  sinceSeconds?: number | null;
  previous?: boolean | null;
  timestamps?: boolean | null;
}

/** Whose log, and how much of it. */
export interface PodLogRequest {
  namespace: string;
  pod: string;
  /** Null: the pod's only one. */
  container: string | null;
  tailLines: number;
  sinceSeconds: number | null;
  previous: boolean;
  timestamps: boolean;
}

const DEFAULT_LINES = 200;
const MAX_LINES = 5_000;
const YEAR_SECONDS = 366 * 24 * 3_600;

/** Throws INVALID_ARGUMENT. */
export function checkPodLogRequest(raw: RawPodLogRequest): PodLogRequest {
  const { sinceSeconds = null } = raw;
  return {
    namespace: checkLabelName("namespace", raw.namespace),
    pod: checkObjectName("pod", raw.pod),
    container: raw.container ? checkLabelName("container", raw.container) : null,
    tailLines: checkInteger("tailLines", raw.tailLines ?? DEFAULT_LINES, 0, MAX_LINES),
    sinceSeconds: sinceSeconds === null ? null : checkInteger("sinceSeconds", sinceSeconds, 1, YEAR_SECONDS),
    previous: raw.previous ?? false,
    timestamps: raw.timestamps ?? false,
  };
}

/** As the API's paths and parameters have it. */
export function podLogQuery({ container, tailLines, sinceSeconds, previous, timestamps }: PodLogRequest, follow: boolean) {
  return {
    container: container ?? undefined,
    tailLines,
    sinceSeconds: sinceSeconds ?? undefined,
    previous: previous || undefined,
    timestamps: timestamps || undefined,
    follow: follow || undefined,
  };
}

export function podPath({ namespace, pod }: Pick<PodLogRequest, "namespace" | "pod">): string {
  return `/api/v1/namespaces/${namespace}/pods/${pod}`;
}
