import type { ExecutionResult } from "graphql";

/** As many as are of use on a page; a subscription may run for days. */
const KEPT = 50;

/**
 * GraphiQL shows the last result alone, which for a subscription that began with a snapshot is rarely the one of interest. Each result
 * here carries those before it, newest first, in `extensions.earlier`.
 */
export function newestFirst(
  results: AsyncIterableIterator<ExecutionResult>,
  inspect: (result: ExecutionResult) => ExecutionResult,
): AsyncIterableIterator<ExecutionResult> {
  let received = 0;
  let earlier: unknown[] = [];
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      const step = await results.next();
      if (step.done) return step;
      const result = inspect(step.value);
      received += 1;
      const shown = received === 1 ? result : { ...result, extensions: { ...result.extensions, received, earlier } };
      earlier = [result.errors ? result : result.data, ...earlier].slice(0, KEPT);
      return { done: false, value: shown };
    },
    // Not an async generator: its return() would wait for the next event.
    return: async (value) => (await results.return?.(value)) ?? { done: true, value },
  };
}
