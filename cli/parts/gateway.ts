import type { SubgraphLocation } from "../../gateway/execution/graph.ts";
import { type RunningGateway, startGateway } from "../../gateway/main.ts";
import { serveGraphiql } from "../../gateway/server/graphiql.ts";
import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { SignInCodes } from "../../platform/auth/sign-in-codes.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { listening } from "../process/start-error.ts";
import { readSupergraph } from "./supergraph.ts";

export interface GatewayParts {
  verifier: TokenVerifier;
  /** Null where this process issues no tokens. */
  codes: SignInCodes | null;
  subgraphs: Record<string, SubgraphLocation>;
}

/** It drains its clients within its own limits; this is only for a drain that hangs. */
const STOP_TIMEOUT_MS = 15_000;

/** Starts the gateway with GraphiQL as configured, and stops it with the process. */
export async function startConfiguredGateway(
  context: ProcessContext,
  { verifier, codes, subgraphs }: GatewayParts,
): Promise<RunningGateway> {
  const { config, log, metrics, lifecycle } = context;
  const address = { host: config["gateway.host"], port: config["gateway.port"] };
  const publicUrl = config["gateway.publicUrl"];
  const supergraphSdl = await readSupergraph(config["gateway.supergraph"]);
  const gateway = await listening({ ...address, hostKey: "gateway.host", portKey: "gateway.port" }, () =>
    startGateway({
      ...address,
      supergraphSdl,
      subgraphs,
      verifier,
      log: log.child({ part: "gateway" }),
      metrics,
      origins: publicUrl === null ? config["gateway.origins"] : [publicUrl, ...config["gateway.origins"]],
      serveStatic: serveGraphiql,
      exchangeCode: codes === null ? undefined : (code) => codes.exchange(code),
    }),
  );
  lifecycle.onStop("gateway", () => gateway.stop(), STOP_TIMEOUT_MS);
  return gateway;
}
