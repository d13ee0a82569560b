import { describe, inject, test } from "vitest";

/** The real servers and programs that some tests talk to. How they are found: test/support/detect-peers.ts. */
export type Peer = "postgresql" | "nats" | "nats-server" | "pg_dump" | "chromium" | "network-namespaces";

/** An administrator's URL of the PostgreSQL server: tests create databases of their own in it and drop them. */
export const POSTGRESQL_URL = process.env.TEST_POSTGRESQL_URL ?? "postgresql://postgres@127.0.0.1:5432/postgres";
export const NATS_URL = process.env.TEST_NATS_URL ?? "nats://127.0.0.1:4222";
export const CHROMIUM = process.env.TEST_CHROMIUM ?? "/usr/bin/chromium";

/** Null where the peer is there; otherwise why not. */
function peerProblem(peer: Peer): string | null {
  const problems = inject("peers");
  return peer in problems ? (problems[peer] ?? null) : `nothing looks for ${peer}`;
}

/**
 * A describe block of tests that need real peers. Where one is missing its tests are skipped, counted and reported with the
 * reason; with CI=true a missing peer is a failure, so that nothing is silently left untested there.
 */
export function describeWithPeers(name: string, peers: Peer | Peer[], body: () => void): void {
  const missing = [peers].flat().flatMap((peer) => {
    const problem = peerProblem(peer);
    return problem === null ? [] : [`${peer}: ${problem}`];
  });
  if (missing.length === 0) {
    describe(name, body);
    return;
  }
  const reason = missing.join("; ");
  if (process.env.CI === "true") {
    describe(name, () => {
      test("has the peers it needs", () => {
        throw new Error(`CI must have every peer; ${reason}`);
      });
    });
    return;
  }
  describe(name, { skip: true, meta: { skipReason: reason } }, body);
}

declare module "vitest" {
  interface TaskMeta {
    skipReason?: string;
  }
}
