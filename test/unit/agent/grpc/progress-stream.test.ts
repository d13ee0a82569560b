import { expect, test } from "vitest";
import { progressStream } from "../../../../agent/grpc/progress-stream.ts";

const never = new AbortController().signal;

test("tells what is told, and then the result", async () => {
  const told: Array<(progress: string) => void> = [];
  const result = Promise.withResolvers<string>();
  const stream = progressStream<string>((tell) => {
    told.push(tell);
    return result.promise;
  }, never);
  const first = stream.next();
  told[0]?.("a third");
  expect(await first).toEqual({ done: false, value: "a third" });
  told[0]?.("two thirds");
  expect(await stream.next()).toEqual({ done: false, value: "two thirds" });
  const last = stream.next();
  result.resolve("all");
  expect(await last).toEqual({ done: false, value: "all" });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test("keeps the newest alone for a slow reader", async () => {
  let tell: (progress: number) => void = () => undefined;
  const stream = progressStream<number>((given) => {
    tell = given;
    return new Promise(() => undefined);
  }, never);
  const first = stream.next();
  for (const progress of [1, 2, 3]) tell(progress);
  expect((await first).value).toBe(3);
});

test("fails with the work, and aborts it when nobody reads any more", async () => {
  const failing = progressStream<number>(() => Promise.reject(new Error("no such image")), never);
  await expect(failing.next()).rejects.toThrow("no such image");

  const given = Promise.withResolvers<AbortSignal>();
  const stream = progressStream<number>((tell, signal) => {
    tell(1);
    given.resolve(signal);
    return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("given up"))));
  }, never);
  await stream.next();
  await stream.return();
  expect((await given.promise).aborted).toBe(true);

  const caller = new AbortController();
  const cancelled = progressStream<number>(
    (_tell, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("given up")))),
    caller.signal,
  );
  const next = cancelled.next();
  caller.abort();
  await expect(next).rejects.toThrow("given up");
});
