import { test } from "vitest";

/** True for the long version of tests: FLEETGRAPH_CAMPAIGN=1. */
export const CAMPAIGN = process.env.FLEETGRAPH_CAMPAIGN === "1";

/** A case that is left to campaigns, because it takes long and `npm test` has others of its kind. */
export function inCampaigns(name: string, work: () => Promise<void>, timeoutMs = 120_000): void {
  if (CAMPAIGN) test(name, { timeout: timeoutMs }, work);
}
