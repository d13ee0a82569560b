import { seedOfRun } from "./random.ts";

/** True for the long version of the randomised tests: FLEETGRAPH_CAMPAIGN=1. */
export const CAMPAIGN = process.env.FLEETGRAPH_CAMPAIGN === "1";

/** Seeds of one randomised test, printed; one alone where `SEED` is set, ten times as many in a campaign. */
export function seeds(test: string, count = 20): number[] {
  const first = seedOfRun();
  const total = process.env.SEED === undefined ? count * (CAMPAIGN ? 10 : 1) : 1;
  process.stdout.write(`${test}: seeds ${first}${total > 1 ? `…${first + total - 1}` : ""}\n`);
  return Array.from({ length: total }, (_, index) => first + index);
}
