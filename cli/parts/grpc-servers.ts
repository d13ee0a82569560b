import { readFile } from "node:fs/promises";
import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import type { Config } from "../../platform/config/settings.ts";
import { authenticateByCertificate, authenticateByToken } from "../../platform/grpc/authenticate.ts";
import { formatHostPort } from "../../platform/grpc/listen-address.ts";
import { createGrpcServer, type GrpcServer, type GrpcService } from "../../platform/grpc/server.ts";
import { ServerTls } from "../../platform/grpc/server-tls.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { listening, StartError } from "../process/start-error.ts";
import type { ControlCertificate } from "./control-certificate.ts";

const GRACE_MS = 5000;
/** An agent has a few calls open and sends an inventory at most; whoever reaches the port can use no more than this per connection. */
const AGENT_LIMITS = { maxRequestBytes: 1024 * 1024, maxConcurrentStreams: 32 };

/** gRPC for users (JWT). Gives the port that was opened. */
export async function startUserGrpc(context: ProcessContext, verifier: TokenVerifier, services: GrpcService[]): Promise<number> {
  const { config, log, metrics } = context;
  const server = createGrpcServer({ log, metrics, authenticate: authenticateByToken(verifier), credentials: await userTls(config) });
  server.addAll(services);
  return listen(context, server, "grpc");
}

/** gRPC for agents and for other parts of the control plane (mTLS; a host without a certificate may only join). Gives the port that was opened. */
export async function startControlGrpc(context: ProcessContext, certificate: ControlCertificate, services: GrpcService[]): Promise<number> {
  const { log, metrics } = context;
  const tls = new ServerTls({ ...certificate.current(), caPem: certificate.ca.certificatePem, clientCertificates: "optional" });
  certificate.onRenewed((pair) => tls.replace(pair));
  const authenticate = authenticateByCertificate(certificate.ca);
  const server = createGrpcServer({ log, metrics, authenticate, credentials: tls, reflection: false, ...AGENT_LIMITS });
  server.addAll(services);
  return listen(context, server, "control");
}

async function listen({ config, lifecycle }: ProcessContext, server: GrpcServer, part: "grpc" | "control"): Promise<number> {
  const [hostKey, portKey] = [`${part}.host`, `${part}.port`] as const;
  const address = { host: config[hostKey], port: config[portKey] };
  const port = await listening({ ...address, hostKey, portKey }, () => server.listen(formatHostPort(address)));
  lifecycle.onStop(`${part} gRPC`, () => server.stop(GRACE_MS), GRACE_MS + 1000);
  return port;
}

/** Null: plaintext, which the configuration allows on loopback only. */
async function userTls(config: Config): Promise<ServerTls | null> {
  const [certFile, keyFile] = [config["grpc.tlsCert"], config["grpc.tlsKey"]];
  if (certFile === null || keyFile === null) return null;
  const read = (file: string, key: string) =>
    readFile(file, "utf8").catch((error: Error) => {
      throw new StartError(`The file ${file} (${key}) cannot be read: ${error.message}.`);
    });
  const certificatePem = await read(certFile, "grpc.tlsCert");
  return new ServerTls({ certificatePem, keyPem: await read(keyFile, "grpc.tlsKey"), caPem: "", clientCertificates: "none" });
}
