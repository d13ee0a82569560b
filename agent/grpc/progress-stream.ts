/**
 * A stream of what work tells, and then of its result. Who reads slowly gets the newest of what was told; who ends the stream aborts the work.
 * Throws what the work throws.
 */
export async function* progressStream<T>(
  work: (tell: (progress: T) => void, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const ended = new AbortController();
  let told: T | null = null;
  let wake = Promise.withResolvers<void>();
  let isOver = false;
  const tell = (progress: T) => {
    told = progress;
    wake.resolve();
  };
  const result = work(tell, AbortSignal.any([signal, ended.signal])).finally(() => {
    isOver = true;
    wake.resolve();
  });
  // It is awaited below, or nobody wants it any more.
  result.catch(() => undefined);
  try {
    while (!isOver) {
      await wake.promise;
      wake = Promise.withResolvers();
      if (told !== null && !isOver) yield take();
    }
    yield await result;
  } finally {
    ended.abort();
  }

  function take(): T {
    const newest = told as T;
    told = null;
    return newest;
  }
}
