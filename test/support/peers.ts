import { describe, inject, test } from "vitest";

/** The real servers and programs that some tests talk to. How they are found: test/support/detect-peers.ts. */
export type Peer =
  | "postgresql"
  | "nats"
  | "nats-server"
  | "chromium"
  | "network-namespaces"
  | "libvirt"
  | "tiny-guest"
  | "rich-guest"
  | "smartctl"
  | "pciutils"
  | "podman"
  | "registry"
  | "sshd"
  | "udevadm"
  | "journal-remote"
  | "kubernetes"
  | "prometheus";

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
