import { invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { ResourceKind } from "./types.ts";

/** "/api/v1/namespaces/one/pods/two": a kind's path, in all namespaces where none is named. INVALID_ARGUMENT for what is no name. */
export function resourcePath(kind: ResourceKind, namespace: string | null = null, name: string | null = null): string {
  const group = kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const scope = kind.namespaced && namespace !== null ? `/namespaces/${segment("namespace", namespace)}` : "";
  return `${group}${scope}/${kind.plural}${name === null ? "" : `/${segment("name", name)}`}`;
}

function segment(field: string, text: string): string {
  if (text === "" || text === "." || text === ".." || text.length > 253 || /[/%]/.test(text)) {
    throw invalidArgument(field, `${JSON.stringify(text.slice(0, 253))} is no name of a Kubernetes object.`);
  }
  return encodeURIComponent(text);
}
