import type { ExecutionResult } from "graphql";
import { expect, test } from "vitest";
import { newestFirst } from "../../../gateway/graphiql/newest-first.ts";

function source(results: ExecutionResult[]): AsyncIterableIterator<ExecutionResult> & { returned: boolean } {
  return {
    returned: false,
    [Symbol.asyncIterator]() {
      return this;
    },
    next() {
      const value = results.shift();
      return Promise.resolve(value === undefined ? { done: true, value: undefined } : { done: false, value });
    },
    return() {
      this.returned = true;
      return Promise.resolve({ done: true, value: undefined });
    },
  };
}

const event = (n: number): ExecutionResult => ({ data: { n } });

async function all(results: ExecutionResult[]): Promise<ExecutionResult[]> {
  const shown: ExecutionResult[] = [];
  for await (const result of newestFirst(source(results), (each) => each)) shown.push(result);
  return shown;
}

test("the first result is shown as it came", async () => {
  expect(await all([event(1)])).toEqual([event(1)]);
});

test("each later result carries the ones before it, the newest of them first", async () => {
  const shown = await all([event(1), event(2), event(3)]);
  expect(shown[2]).toEqual({ data: { n: 3 }, extensions: { received: 3, earlier: [{ n: 2 }, { n: 1 }] } });
});

test("an end with errors keeps what came before it in sight", async () => {
  const end = { errors: [{ message: "expired" }] } as unknown as ExecutionResult;
  const shown = await all([event(1), end]);
  expect(shown[1]).toEqual({ ...end, extensions: { received: 2, earlier: [{ n: 1 }] } });
});

test("no more than fifty earlier results are kept", async () => {
  const shown = await all(Array.from({ length: 80 }, (_, index) => event(index)));
  expect(shown.at(-1)?.extensions).toMatchObject({ received: 80 });
  expect(shown.at(-1)?.extensions?.earlier).toHaveLength(50);
});

test("stopping it stops the subscription at once", async () => {
  const results = source([event(1), event(2)]);
  const shown = newestFirst(results, (each) => each);
  await shown.next();
  await shown.return?.();
  expect(results.returned).toBe(true);
});
