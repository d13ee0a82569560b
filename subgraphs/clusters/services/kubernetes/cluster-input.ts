import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkListLength, checkName, checkOneOf } from "../../../kit/input-checks.ts";
import { CLUSTER_HEALTHS, type KubernetesClusterFilter } from "./cluster-types.ts";

/** What the face hands over: its shape is right, its values are not checked. */
export interface RawNewCluster {
  name: string;
  kubeconfig: string;
  context?: string | null;
  isDefault?: boolean | null;
  enabled?: boolean | null;
  discoverPrometheus?: boolean | null;
  force?: boolean | null;
  clientRequestId?: string | null;
}

/** Undefined leaves as it is, null clears. */
export interface RawClusterPatch {
  name?: string | null;
  kubeconfig?: string | null;
  context?: string | null;
  isDefault?: boolean | null;
  enabled?: boolean | null;
  discoverPrometheus?: boolean | null;
  prometheusUrl?: string | null;
  force?: boolean | null;
}

export type RawClusterFilter = { [K in Exclude<keyof KubernetesClusterFilter, "healthStatuses">]?: KubernetesClusterFilter[K] } & {
  healthStatuses?: readonly string[] | null;
};

const MAX_NAME = 100;
const MAX_URL = 2000;

export function checkClusterName(value: string | null): string {
  const name = checkName("name", value?.trim(), MAX_NAME);
  if (name === null) throw invalidArgument("name", `A name of 1 to ${MAX_NAME} characters is needed.`);
  return name;
}

/** Http or https, without credentials; without a slash at its end. Null where it is cleared. */
export function checkPrometheusUrl(value: string | null): string | null {
  if (value === null || value === "") return null;
  const url = value.length <= MAX_URL && URL.canParse(value) ? new URL(value) : null;
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw invalidArgument("prometheusUrl", `An http or https URL of up to ${MAX_URL} characters is needed.`);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw invalidArgument("prometheusUrl", "The URL is shown to every viewer: no user, password, query or fragment may be in it.");
  }
  return url.href.replace(/\/+$/, "");
}

/** For what may be changed and has no cleared state. */
export function notNull<T>(field: string, value: T | null | undefined): T | undefined {
  if (value === null) throw invalidArgument(field, "This cannot be cleared: leave it out, or give a value.");
  return value;
}

export function checkClusterFilter(raw: RawClusterFilter | null | undefined): KubernetesClusterFilter {
  const statuses = raw?.healthStatuses ?? null;
  if (statuses !== null) checkListLength("filter.healthStatuses", statuses, CLUSTER_HEALTHS.length);
  return {
    name: checkName("filter.name", raw?.name, MAX_NAME)?.toLowerCase() ?? null,
    enabled: raw?.enabled ?? null,
    healthStatuses: statuses?.map((status) => checkOneOf("filter.healthStatuses", status, CLUSTER_HEALTHS)) ?? null,
    isDefault: raw?.isDefault ?? null,
  };
}
