import type { KubernetesObject } from "../../../../kit/kubernetes/types.ts";
import { type NamespacedHead, namespacedHeadOf, type ObjectReference } from "./object-head.ts";

export interface RawEvent extends KubernetesObject {
  involvedObject?: { kind?: string; namespace?: string; name?: string; uid?: string };
  type?: string;
  reason?: string;
  message?: string;
  count?: number;
  firstTimestamp?: string | null;
  lastTimestamp?: string | null;
  eventTime?: string | null;
  series?: { count?: number; lastObservedTime?: string | null };
  source?: { component?: string; host?: string };
  reportingComponent?: string;
  reportingInstance?: string;
}

export interface KubernetesEventView extends NamespacedHead {
  type: string | null;
  reason: string | null;
  message: string | null;
  count: number;
  firstAt: string | null;
  lastAt: string | null;
  source: string | null;
  object: ObjectReference | null;
}

/** Writers of the older form fill first, last and count, those of the newer one eventTime and series. */
export function eventView(event: RawEvent): KubernetesEventView {
  const { series, source, involvedObject } = event;
  const firstAt = event.firstTimestamp ?? event.eventTime ?? event.metadata.creationTimestamp ?? null;
  const writer = [source?.component || event.reportingComponent, source?.host || event.reportingInstance].filter(Boolean);
  return {
    ...namespacedHeadOf(event),
    type: event.type || null,
    reason: event.reason || null,
    message: event.message || null,
    count: series?.count ?? event.count ?? 1,
    firstAt,
    lastAt: series?.lastObservedTime ?? event.lastTimestamp ?? firstAt,
    source: writer.join(", ") || null,
    object: involvedObject?.name
      ? {
          kind: involvedObject.kind ?? "",
          namespace: involvedObject.namespace || null,
          name: involvedObject.name,
          uid: involvedObject.uid || null,
        }
      : null,
  };
}
