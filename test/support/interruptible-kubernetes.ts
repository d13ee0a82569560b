import { type KubernetesApi, KubernetesFailure, type KubernetesObject, type WatchLine } from "../../subgraphs/kit/kubernetes/types.ts";

export interface InterruptibleKubernetes {
  api: KubernetesApi;
  readonly calls: { lists: number; watches: number };
  /** Ends watches as a lost connection does; new ones fail until `resume`. */
  interrupt(): void;
  resume(): void;
}

/** A cluster's API, of which a test can take away the watches. */
export function interruptible(api: KubernetesApi): InterruptibleKubernetes {
  const calls = { lists: 0, watches: 0 };
  let interruption: AbortController | null = new AbortController();
  let current = interruption;
  const lost = () => new KubernetesFailure("UNAVAILABLE", "REQUEST", "ConnectionLost", "The connection to the cluster was lost.");

  async function* watch<T extends KubernetesObject>(...[kind, request]: Parameters<KubernetesApi["watch"]>): AsyncGenerator<WatchLine<T>> {
    calls.watches += 1;
    if (interruption === null) throw lost();
    const { signal } = interruption;
    yield* api.watch<T>(kind, { ...request, signal: AbortSignal.any([signal, request.signal]) });
    if (signal.aborted) throw lost();
  }

  return {
    calls,
    api: {
      get: (...args) => api.get(...args),
      write: (...args) => api.write(...args),
      stream: (...args) => api.stream(...args),
      text: (...args) => api.text(...args),
      list(...args) {
        calls.lists += 1;
        return api.list(...args);
      },
      watch,
      version: (options) => api.version(options),
      close: () => api.close(),
    },
    interrupt() {
      interruption = null;
      current.abort();
    },
    resume() {
      current = new AbortController();
      interruption = current;
    },
  };
}
