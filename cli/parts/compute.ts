import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { SecretKeys } from "../../platform/secrets/secret-keys.ts";
import { type ComputeSubgraph, startComputeSubgraph } from "../../subgraphs/compute/main.ts";
import type { Bus } from "../../subgraphs/kit/events/bus.ts";
import type { ProcessContext } from "../process/run-process.ts";
import type { ControlCertificate } from "./control-certificate.ts";

export interface ComputeNeeds {
  verifier: TokenVerifier;
  certificate: ControlCertificate;
  /** host:port of the clusters subgraph's gRPC for the control plane. */
  clustersAddress: string | Promise<string>;
  bus: Bus;
}

const GRACE_MS = 5000;

/** Starts the compute subgraph as configured, and stops it with the process. */
export async function startCompute(
  { config, log, metrics, lifecycle }: ProcessContext,
  { verifier, certificate, clustersAddress, bus }: ComputeNeeds,
): Promise<ComputeSubgraph> {
  const compute = await startComputeSubgraph({
    databaseUrl: config["database.compute"],
    clustersAddress,
    credentials: () => ({ ...certificate.current(), caPem: certificate.ca.certificatePem }),
    bus,
    verifier,
    secrets: await SecretKeys.open(config["secrets.keyDir"]),
    log,
    metrics,
    config: { strategy: config["placement.strategy"], deletedRetentionMs: config["compute.deletedRetention"] * 1000 },
    retention: { maxAgeMs: config["events.retentionAge"] * 1000, maxEvents: config["events.retentionCount"] },
  });
  certificate.onRenewed(() => compute.renewConnections());
  lifecycle.onStop("compute", () => compute.stop(GRACE_MS), GRACE_MS + 5000);
  return compute;
}
