import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { KubernetesApi, ObjectFilter, ResourceKind } from "../types.ts";
import { openReflector, type Reflector } from "./reflector.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";

export interface CounterOptions {
  api: KubernetesApi;
  kind: ResourceKind;
  filter?: ObjectFilter;
  log: Logger;
  limits?: Partial<ReflectorLimits>;
}

const ALL: ObjectFilter = { namespace: null, labelSelector: null, fieldSelector: null };

/** How many objects of a kind a cluster has, by a watch of metadata that keeps their uids only. Tries for as long as it is open. */
export class ObjectCounter {
  readonly #reflector: Reflector<null>;

  constructor({ filter = ALL, ...options }: CounterOptions) {
    const identity = { stream: "count", epoch: "" };
    this.#reflector = openReflector({ ...options, filter, identity, metadataOnly: true, project: () => null, persistent: true });
  }

  /** Null until they were counted once. While the cluster cannot be watched: the last that was known. */
  get count(): number | null {
    return this.#reflector.ready ? this.#reflector.size : null;
  }

  /** Why they cannot be counted at present. */
  get failure(): FleetError | null {
    return this.#reflector.failure;
  }

  /** `listener` is called within the turn of each change, and of some that leave the count as it is. Returns an undo. */
  onChange(listener: () => void): () => void {
    return this.#reflector.onChange(listener);
  }

  close(): void {
    this.#reflector.end(null);
  }
}
