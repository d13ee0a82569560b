import type { GraphQLSchema } from "graphql";
import { readSupergraph, type SupergraphSnapshot } from "./snapshot.ts";

type SwapListener = (snapshot: SupergraphSnapshot, previous: SupergraphSnapshot) => void;

/** The supergraph in use. It is exchanged as a whole, after the new one was read and checked. */
export class SupergraphHolder {
  #current: SupergraphSnapshot;
  readonly #bySchema = new WeakMap<GraphQLSchema, SupergraphSnapshot>();
  readonly #listeners = new Set<SwapListener>();

  constructor(sdl: string) {
    this.#current = readSupergraph(sdl);
    this.#bySchema.set(this.#current.schema, this.#current);
  }

  get current(): SupergraphSnapshot {
    return this.#current;
  }

  /** The snapshot that a request was validated against, which may be an older one than the current. */
  of(schema: GraphQLSchema): SupergraphSnapshot {
    return this.#bySchema.get(schema) ?? this.#current;
  }

  /** Takes over a new supergraph. Throws FAILED_PRECONDITION and keeps the old one where it cannot be served; `check` may refuse it too. */
  swap(sdl: string, check?: (snapshot: SupergraphSnapshot) => void): boolean {
    if (sdl === this.#current.sdl) return false;
    const next = readSupergraph(sdl);
    check?.(next);
    const previous = this.#current;
    this.#bySchema.set(next.schema, next);
    this.#current = next;
    for (const listener of this.#listeners) listener(next, previous);
    return true;
  }

  /** Called after each swap; returns the undo. */
  onSwap(listener: SwapListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
