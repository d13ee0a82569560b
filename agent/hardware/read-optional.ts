import { HostReadError, type UnreadableReason } from "../host/host-channel.ts";

const ABSENT: ReadonlySet<UnreadableReason> = new Set(["NOT_PRESENT", "NOT_SUPPORTED"]);

/** Undefined for what this host does not have. What it has and does not give is thrown. */
export async function ifPresent<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof HostReadError && ABSENT.has(error.reason)) return undefined;
    throw error;
  }
}

/** What every item gives, in their order; at most `atOnce` are on their way. */
export async function mapBounded<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += atOnce) {
    results.push(...(await Promise.all(items.slice(start, start + atOnce).map(work))));
  }
  return results;
}
