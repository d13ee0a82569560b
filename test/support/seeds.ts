import { CAMPAIGN } from "./in-campaigns.ts";
import { seedOfRun } from "./random.ts";

/** Seeds of one randomised test, printed: a few in `npm test`, `whole` in a campaign; one alone where `SEED` is set. */
export function seeds(test: string, whole = 20): number[] {
  const first = seedOfRun();
  const many = CAMPAIGN ? whole : Math.ceil(whole / 10);
  const total = process.env.SEED === undefined ? many : 1;
  process.stdout.write(`${test}: seeds ${first}${total > 1 ? `…${first + total - 1}` : ""}\n`);
  return Array.from({ length: total }, (_, index) => first + index);
}
