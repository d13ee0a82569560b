import { setTimeout as delay } from "node:timers/promises";

/** Waits until something holds; fails after `timeoutMs`, which is far above what it should take. */
export async function until(holds: () => boolean | Promise<boolean>, what = "the condition", timeoutMs = 30_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain for ${what}.`);
    await delay(5);
  }
}
