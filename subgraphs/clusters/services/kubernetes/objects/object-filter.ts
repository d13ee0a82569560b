import { invalidArgument } from "../../../../../platform/errors/fleet-error.ts";
import type { ObjectFilter } from "../../../../kit/kubernetes/types.ts";
import { checkFieldSelector, checkLabelSelector } from "./selectors.ts";

export interface RawObjectFilter {
  namespace?: string | null;
  labelSelector?: string | null;
  fieldSelector?: string | null;
}

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** What is sent to a cluster. Throws INVALID_ARGUMENT. */
export function checkObjectFilter({ namespace, labelSelector, fieldSelector }: RawObjectFilter): ObjectFilter {
  return {
    namespace: namespace ? checkLabelName("namespace", namespace) : null,
    labelSelector: checkLabelSelector("labelSelector", labelSelector),
    fieldSelector: checkFieldSelector("fieldSelector", fieldSelector),
  };
}

/** The name of a namespace or a container. */
export function checkLabelName(field: string, name: string): string {
  if (!LABEL.test(name)) throw invalidArgument(field, "A name has 1–63 lower-case letters, digits and inner hyphens.");
  return name;
}

/** The name of any other object: labels joined by dots. */
export function checkObjectName(field: string, name: string): string {
  if (name.length > 253 || !/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(name)) {
    throw invalidArgument(field, "A name has 1–253 lower-case letters, digits, inner hyphens and dots.");
  }
  return name;
}
