import {
  type KubernetesApi,
  KubernetesFailure,
  type KubernetesObject,
  type ListOptions,
  type ListPage,
  type ResourceKind,
  type WatchLine,
  type WatchRequest,
} from "../../subgraphs/kit/kubernetes/types.ts";

/** An object of the script: a value that is shown, and one that a projection may leave out. */
export interface ScriptedObject extends KubernetesObject {
  spec: { shown: string; hidden?: string };
}

interface Written {
  revision: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: ScriptedObject;
}

interface OpenWatch {
  broken: Error | "END" | null;
  heard: Set<Written>;
}

/**
 * One kind of object in memory, served as an API server does: revisions, pages as of one revision, watches behind one, compaction. Its
 * watches can be cut, ended, stalled or told out of order, and its answers refused.
 */
export class ScriptedKubernetes implements KubernetesApi {
  readonly calls = { lists: 0, watches: 0 };
  /** Is thrown by every list and watch while it is set. */
  refusal: KubernetesFailure | null = null;
  /** A page of more objects is too large an answer. */
  largestPage = 500;
  /** False: it lists as of now, whatever is asked for. */
  knowsExactly = true;
  #history: Written[] = [];
  #revision = 100;
  /** What there was from a revision on, since the compaction. */
  #states: Array<{ since: number; objects: ReadonlyMap<string, ScriptedObject> }> = [{ since: 0, objects: new Map() }];
  #compacted = 0;
  #stalled = false;
  #made = 0;
  readonly #watches = new Set<OpenWatch>();
  #wakers: Array<() => void> = [];

  get revision(): number {
    return this.#revision;
  }

  get watching(): number {
    return this.#watches.size;
  }

  /** Makes an object, or changes what it shows. */
  put(name: string, shown: string, hidden = ""): void {
    const old = this.#objects.get(name);
    if (!old) this.#made += 1;
    const uid = old?.metadata.uid ?? `uid-${String(this.#made).padStart(4, "0")}`;
    this.#write(name, old ? "MODIFIED" : "ADDED", { metadata: { name, uid, resourceVersion: "" }, spec: { shown, hidden } });
  }

  remove(name: string): void {
    const old = this.#objects.get(name);
    if (old) this.#write(name, "DELETED", old);
  }

  /** A change of another kind. */
  passRevision(): void {
    this.#revision += 1;
  }

  /** What was before now is known no more. */
  compact(): void {
    this.goBack(this.#revision);
  }

  /** Ends all watches with an error, or as the API does at its time-out. */
  cut(
    how: Error | "END" = new KubernetesFailure("UNAVAILABLE", "REQUEST", "ConnectionLost", "The connection to the cluster was lost."),
  ): void {
    for (const watch of this.#watches) watch.broken = how;
    this.#wake();
  }

  /** Watches stay open and say nothing, until they are cut or this is undone. */
  stall(stalled: boolean): void {
    this.#stalled = stalled;
    this.#wake();
  }

  /** The last two changes change places for watches that have not heard of them. */
  misorder(): void {
    const last = this.#history.splice(-2);
    this.#history.push(...last.reverse());
  }

  /** As after the restoration of a backup: the same objects, an older revision. */
  goBack(revision: number): void {
    const missing = (watch: OpenWatch) => this.#history.some((written) => !watch.heard.has(written));
    for (const watch of this.#watches) if (missing(watch)) watch.broken ??= gone();
    this.#states = [{ since: 0, objects: this.#objects }];
    this.#revision = revision;
    this.#compacted = revision;
    this.#history = [];
    this.#wake();
  }

  /** What is there, as a projection of `shown` by name shows it. */
  shown(): Record<string, string> {
    return Object.fromEntries([...this.#objects].map(([name, { spec }]) => [name, spec.shown]));
  }

  async list<T extends KubernetesObject>(_kind: ResourceKind, options: ListOptions): Promise<ListPage<T>> {
    this.calls.lists += 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.refusal) throw this.refusal;
    if ((options.limit ?? 500) > this.largestPage) throw new KubernetesFailure("RESOURCE_EXHAUSTED", "REQUEST", "TooLarge", "Too large.");
    const asked = this.knowsExactly && options.resourceVersion !== undefined ? Number(options.resourceVersion) : this.#revision;
    const [revision, from] = options.continueToken?.split("/").map(Number) ?? [asked, 0];
    if (revision === undefined || from === undefined) throw new Error("no page");
    if (revision > this.#revision) throw failure("UNAVAILABLE", "ServerError", 504);
    const all = this.#asOf(revision);
    const end = from + (options.limit ?? 500);
    const more = end < all.length;
    return {
      items: structuredClone(all.slice(from, end)) as unknown as T[],
      resourceVersion: String(revision),
      continueToken: more ? `${revision}/${end}` : null,
      remainingItemCount: more ? all.length - end : null,
    };
  }

  async *watch<T extends KubernetesObject>(_kind: ResourceKind, request: WatchRequest): AsyncIterableIterator<WatchLine<T>> {
    this.calls.watches += 1;
    if (this.refusal) throw this.refusal;
    const from = Number(request.resourceVersion);
    if (from < this.#compacted) throw gone();
    const heard = new Set(this.#history.filter(({ revision }) => revision <= from));
    const watch: OpenWatch = { broken: null, heard };
    this.#watches.add(watch);
    request.onOpen?.();
    try {
      while (!request.signal.aborted) {
        if (watch.broken === "END") return;
        if (watch.broken) throw watch.broken;
        const next = this.#stalled ? undefined : this.#history.find((written) => !heard.has(written));
        if (next) {
          heard.add(next);
          yield { type: next.type, object: structuredClone(next.object) as unknown as T };
        } else await this.#changed(request.signal);
      }
    } finally {
      this.#watches.delete(watch);
    }
  }

  get = notScripted;
  write = notScripted;
  stream = notScripted;
  text = notScripted;
  version = notScripted;

  close(): Promise<void> {
    this.cut();
    return Promise.resolve();
  }

  get #objects(): ReadonlyMap<string, ScriptedObject> {
    return this.#states.at(-1)?.objects ?? new Map();
  }

  #write(name: string, type: Written["type"], { metadata, spec }: ScriptedObject): void {
    this.#revision += 1;
    const object = { metadata: { ...metadata, resourceVersion: String(this.#revision) }, spec };
    const objects = new Map(this.#objects);
    if (type === "DELETED") objects.delete(name);
    else objects.set(name, object);
    this.#states.push({ since: this.#revision, objects });
    this.#history.push({ revision: this.#revision, type, object });
    this.#wake();
  }

  #asOf(revision: number): ScriptedObject[] {
    if (revision < this.#compacted) throw gone();
    return [...(this.#states.findLast(({ since }) => since <= revision)?.objects.values() ?? [])];
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#wakers.push(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }
}

export function failure(code: "UNAVAILABLE" | "FAILED_PRECONDITION" | "CURSOR_EXPIRED", reason: string, status: number): KubernetesFailure {
  return new KubernetesFailure(code, "REQUEST", reason, `The cluster's API answers ${reason}.`, { status });
}

function gone(): KubernetesFailure {
  return failure("CURSOR_EXPIRED", "Gone", 410);
}

function notScripted(): never {
  throw new Error("not in the script");
}
