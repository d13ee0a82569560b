/**
 * A mapped iterator that leaks nothing: `return()` goes straight to the source, also while a `next()` is pending
 * (an async generator would wait for the next value first).
 */
export function mapIterator<T, U>(source: AsyncIterator<T>, map: (value: T) => U | Promise<U>): AsyncIterableIterator<U> {
  const step = async ({ done, value }: IteratorResult<T>): Promise<IteratorResult<U>> =>
    done === true ? { done: true, value: undefined } : { done: false, value: await map(value) };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const result = await source.next();
      try {
        return await step(result);
      } catch (error) {
        await source.return?.();
        throw error;
      }
    },
    async return() {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}

/** The same iterator; `onEnd` is called once, when it is exhausted, fails, or is returned. */
export function onEndOf<T>(source: AsyncIterator<T>, onEnd: () => void): AsyncIterableIterator<T> {
  let ended = false;
  const end = () => {
    if (!ended) onEnd();
    ended = true;
  };
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      try {
        const result = await source.next();
        if (result.done === true) end();
        return result;
      } catch (error) {
        end();
        throw error;
      }
    },
    async return() {
      end();
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
}
