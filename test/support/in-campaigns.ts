import { describe, test } from "vitest";
import { describeWithPeers, type Peer } from "./peers.ts";

/** True for the long version of tests: FLEETGRAPH_CAMPAIGN=1. */
export const CAMPAIGN = process.env.FLEETGRAPH_CAMPAIGN === "1";

/** Counted among what was not run, with this reason. */
const LEFT = { skip: true, meta: { skipReason: "left to a campaign" } };

/** A case that is left to campaigns, because it takes long and `npm test` has others of its kind. */
export function inCampaigns(name: string, work: () => Promise<void>, timeoutMs = 120_000): void {
  test(name, { timeout: timeoutMs, ...(CAMPAIGN ? {} : LEFT) }, work);
}

/** The same of all cases of a file. */
export function describeInCampaigns(name: string, peers: Peer | Peer[], body: () => void): void {
  if (CAMPAIGN) describeWithPeers(name, peers, body);
  else describe(name, LEFT, body);
}
