import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";
import type { GrpcService } from "../../platform/grpc/server.ts";
import type { StoppableHandler } from "../../subgraphs/kit/graphql/handler.ts";
import { serveSubgraph } from "../../subgraphs/kit/graphql/serve.ts";
import { openAuthentication } from "../process/authentication.ts";
import { lockDataDirectory } from "../process/data-lock.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { listening } from "../process/start-error.ts";
import type { SubgraphName } from "../subgraphs.ts";
import { startBus } from "./bus.ts";
import { startClusters } from "./clusters.ts";
import { startCompute } from "./compute.ts";
import { advertisedControlAddress, saveControlAddress } from "./control-address.ts";
import { authorityOf, type ControlCertificate, openControlCertificate } from "./control-certificate.ts";
import { startControlGrpc, startUserGrpc } from "./grpc-servers.ts";
import { startNodes } from "./nodes.ts";

const GRACE_MS = 5000;

/** What the process needs of a subgraph, whichever it is. */
export interface ServedSubgraph {
  handler: StoppableHandler;
  grpcServices(): GrpcService[];
  agentServices(): GrpcService[];
  ready(): Promise<boolean>;
}

/** One subgraph as a process of its own: its GraphQL for the gateway, and a port each for the gRPC services that it has. */
export async function startSubgraph(name: SubgraphName, context: ProcessContext): Promise<void> {
  const { config, log, metrics, lifecycle } = context;
  // Replicas share a PostgreSQL database; a SQLite file is one process's own.
  if (config[`database.${name}`].startsWith("sqlite:")) lifecycle.onStop("data directory", lockDataDirectory(config.dataDir, name));
  const { verifier } = await openAuthentication(config);
  const certificate = await openControlCertificate({
    name,
    caDir: config["tls.caDir"],
    credentialsDir: config["tls.controlDir"],
    hosts: [config["control.host"], ...config["control.advertise"].map((address) => parseHostPort(address).host)],
    log,
    lifecycle,
  });
  const subgraph = await start(name, context, { verifier, certificate });
  const [userServices, agentServices] = [subgraph.grpcServices(), subgraph.agentServices()];
  if (agentServices.length > 0) {
    const port = await startControlGrpc(context, certificate, agentServices);
    if (name === "clusters") await saveControlAddress(config, advertisedControlAddress(config, port));
  }
  if (userServices.length > 0) await startUserGrpc(context, verifier, userServices);
  const address = { host: config["subgraph.host"], port: config["subgraph.port"] };
  const server = await listening({ ...address, hostKey: "subgraph.host", portKey: "subgraph.port" }, () =>
    serveSubgraph(subgraph.handler, { ...address, log, metrics, ready: () => subgraph.ready() }),
  );
  lifecycle.onStop("GraphQL server", () => server.stop(GRACE_MS), GRACE_MS * 2);
  log.info({ url: server.url }, `the subgraph ${name} serves`);
}

function start(
  name: SubgraphName,
  context: ProcessContext,
  { verifier, certificate }: { verifier: TokenVerifier; certificate: ControlCertificate },
): Promise<ServedSubgraph> {
  const { "control.clustersAddress": clustersAddress, "control.computeAddress": computeAddress } = context.config;
  const bus = startBus(name, context);
  if (name === "nodes") return startNodes(context, { verifier, certificate, clustersAddress, computeAddress, bus });
  if (name === "compute") return startCompute(context, { verifier, certificate, clustersAddress, bus });
  return startClusters(context, { verifier, authority: authorityOf(certificate), bus });
}
