import type { ObjectView, WatchTarget } from "../../../../kit/kubernetes/reflector/shared-reflectors.ts";
import {
  DEPLOYMENTS,
  EVENTS,
  type KubernetesObject,
  NAMESPACES,
  NODES,
  type ObjectFilter,
  PODS,
  type ResourceKind,
  SERVICES,
} from "../../../../kit/kubernetes/types.ts";
import { deploymentView } from "./deployment-object.ts";
import { eventView } from "./event-object.ts";
import { namespaceView } from "./namespace-object.ts";
import { nodeView } from "./node-object.ts";
import { podView } from "./pod-object.ts";
import { serviceView } from "./service-object.ts";

/** A kind of objects that is listed and watched, and what is shown of one. */
export interface ObjectKind<View> {
  readonly resource: ResourceKind;
  readonly view: ObjectView<KubernetesObject, View>;
}

/** Part of the views' names: to be raised whenever what is shown of an object changes, since events of two versions are not the same. */
const VERSION = 1;

function objectKind<Raw extends KubernetesObject, View>(resource: ResourceKind, view: (object: Raw) => View): ObjectKind<View> {
  // The API answers with the kind that its path names.
  return { resource, view: { name: `shown-${VERSION}`, project: (object) => view(object as Raw) } };
}

export const NODE_KIND = objectKind(NODES, nodeView);
export const POD_KIND = objectKind(PODS, podView);
export const NAMESPACE_KIND = objectKind(NAMESPACES, namespaceView);
export const DEPLOYMENT_KIND = objectKind(DEPLOYMENTS, deploymentView);
export const SERVICE_KIND = objectKind(SERVICES, serviceView);
export const EVENT_KIND = objectKind(EVENTS, eventView);

/** What is watched. A cluster with another access may be another cluster: cursors of the former one expire. */
export function watchTarget<View>(
  { resource, view }: ObjectKind<View>,
  cluster: { id: string; revision: number },
  filter: ObjectFilter,
): WatchTarget<KubernetesObject, View> {
  return { clusterId: cluster.id, epoch: String(cluster.revision), kind: resource, filter, view };
}
