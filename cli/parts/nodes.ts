import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import type { Bus } from "../../subgraphs/kit/events/bus.ts";
import { type NodesSubgraph, startNodesSubgraph } from "../../subgraphs/nodes/main.ts";
import type { ProcessContext } from "../process/run-process.ts";
import type { ControlCertificate } from "./control-certificate.ts";

export interface NodesNeeds {
  verifier: TokenVerifier;
  certificate: ControlCertificate;
  /** host:port of the clusters subgraph's gRPC for the control plane. */
  clustersAddress: string | Promise<string>;
  /** The same of the compute subgraph's. */
  computeAddress: string | Promise<string>;
  bus: Bus;
}

const GRACE_MS = 5000;

/** Starts the nodes subgraph as configured, and stops it with the process. */
export async function startNodes(
  { config, log, metrics, lifecycle }: ProcessContext,
  { verifier, certificate, clustersAddress, computeAddress, bus }: NodesNeeds,
): Promise<NodesSubgraph> {
  const nodes = await startNodesSubgraph({
    databaseUrl: config["database.nodes"],
    bus,
    clustersAddress,
    computeAddress,
    credentials: () => ({ ...certificate.current(), caPem: certificate.ca.certificatePem }),
    verifier,
    secrets: await SecretKeys.open(config["secrets.keyDir"]),
    log,
    metrics,
    retention: { maxAgeMs: config["events.retentionAge"] * 1000, maxEvents: config["events.retentionCount"] },
  });
  certificate.onRenewed(() => nodes.renewConnections());
  lifecycle.onStop("nodes", () => nodes.stop(GRACE_MS), GRACE_MS + 5000);
  return nodes;
}
