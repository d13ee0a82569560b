import { SignInCodes } from "../../platform/auth/sign-in-codes.ts";
import { formatHostPort, parseHostPort } from "../../platform/grpc/listen-address.ts";
import { missingCapabilities } from "../capabilities/probe.ts";
import { startBus } from "../parts/bus.ts";
import { startClusters } from "../parts/clusters.ts";
import { startCompute } from "../parts/compute.ts";
import { advertisedControlAddress, localControlAddress, saveControlAddress } from "../parts/control-address.ts";
import { authorityOf, openControlCertificate } from "../parts/control-certificate.ts";
import { startConfiguredGateway } from "../parts/gateway.ts";
import { startControlGrpc, startUserGrpc } from "../parts/grpc-servers.ts";
import { startNodes } from "../parts/nodes.ts";
import { openAuthentication } from "../process/authentication.ts";
import { lockDataDirectory } from "../process/data-lock.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { SUBGRAPHS } from "../subgraphs.ts";
import { startOwnAgent } from "./own-agent.ts";
import { welcomeText } from "./welcome.ts";

/** Everything in one process: the subgraphs, both gRPC ports, the gateway, and the agent of this machine. Prints the welcome. */
export async function startUp(context: ProcessContext): Promise<void> {
  const { config, log, lifecycle } = context;
  for (const name of SUBGRAPHS) lifecycle.onStop("data directory", lockDataDirectory(config.dataDir, name));
  const { verifier, issuer } = await openAuthentication(config);
  const certificate = await openControlCertificate({
    name: "fleetgraph",
    caDir: config["tls.caDir"],
    credentialsDir: null,
    hosts: [config["control.host"], ...config["control.advertise"].map((address) => parseHostPort(address).host)],
    log,
    lifecycle,
  });
  const bus = startBus("fleetgraph", context);
  const clusters = await startClusters(context, { verifier, authority: authorityOf(certificate), bus });
  // Its port opens last, with the services of all.
  const localControl = Promise.withResolvers<string>();
  lifecycle.stopping.addEventListener("abort", () => localControl.reject(lifecycle.stopping.reason));
  localControl.promise.catch(() => undefined);
  const clustersAddress = localControl.promise;
  const nodes = await startNodes(context, { verifier, certificate, clustersAddress, computeAddress: localControl.promise, bus });
  const compute = await startCompute(context, { verifier, certificate, clustersAddress, bus });
  const subgraphs = [clusters, nodes, compute];
  const controlPort = await startControlGrpc(
    context,
    certificate,
    subgraphs.flatMap((subgraph) => subgraph.agentServices()),
  );
  const [controlAddress, ownAddress] = [advertisedControlAddress(config, controlPort), localControlAddress(config, controlPort)];
  localControl.resolve(ownAddress);
  await saveControlAddress(config, controlAddress);
  const grpcPort = await startUserGrpc(
    context,
    verifier,
    subgraphs.flatMap((subgraph) => subgraph.grpcServices()),
  );
  const codes = issuer === null ? null : new SignInCodes({ issuer, tokenTtlSeconds: config["auth.signInTokenTtl"] });
  const gateway = await startConfiguredGateway(context, {
    verifier,
    codes,
    subgraphs: { clusters: clusters.handler, nodes: nodes.handler, compute: compute.handler },
  });
  const agent = config["agent.local"]
    ? await startOwnAgent(context, { clusters, caFingerprint: certificate.ca.fingerprint, address: ownAddress })
    : null;
  log.info({ url: gateway.url, grpcPort, controlAddress }, "fleetgraph serves");
  process.stdout.write(
    welcomeText({
      url: config["gateway.publicUrl"]?.replace(/\/+$/, "") ?? gateway.url,
      code: codes?.create({ subject: "owner", role: "admin" }) ?? null,
      grpcAddress: formatHostPort({ host: config["grpc.host"], port: grpcPort }),
      dataDir: config.dataDir,
      agent,
      missing: await missingCapabilities(),
    }),
  );
}
