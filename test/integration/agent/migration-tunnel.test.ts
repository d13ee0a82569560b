import { Duplex, PassThrough } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { agentService } from "../../../agent/grpc/agent-service.ts";
import { migrationTunnelService } from "../../../agent/grpc/migration-tunnel-service.ts";
import { tunnelTo } from "../../../agent/migration/tunnel-client.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { authenticateByCertificate } from "../../../platform/grpc/authenticate.ts";
import { ChannelPool } from "../../../platform/grpc/channel-pool.ts";
import { createGrpcServer, type GrpcServer } from "../../../platform/grpc/server.ts";
import { ServerTls } from "../../../platform/grpc/server-tls.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { Metrics } from "../../../platform/observability/metrics.ts";
import { readOnlyCa } from "../../../platform/tls/certificate-authority.ts";
import { AgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { agentKeyPair, temporaryCa } from "../../support/certificates.ts";

const TICKET = "t".repeat(40);
const PEER = "fleetgraph://agent/agent-b";
const signal = new AbortController().signal;

let server: GrpcServer;
let address: string;
let asAgent: ChannelPool;
let asControl: ChannelPool;
let removeCa: () => Promise<void>;
/** Connections that were let through; each says back what it hears. */
let accepted = 0;

beforeAll(async () => {
  const { ca, remove } = await temporaryCa();
  removeCa = remove;
  const caPem = ca.certificatePem;
  const trusted = readOnlyCa(caPem);
  server = createGrpcServer({
    log: createLogger({ name: "test", level: "silent" }),
    metrics: new Metrics(),
    authenticate: authenticateByCertificate(trusted, ["control"]),
    credentials: new ServerTls({ ...(await agentKeyPair(ca, "agent-b")), caPem, clientCertificates: "required" }),
    receiveWindowBytes: 256 * 1024,
    reflection: false,
  });
  const accept = async (migrationId: string, ticket: string) => {
    if (migrationId !== "m1" || ticket !== TICKET)
      throw new FleetError("UNAUTHENTICATED", "No guest is awaited.", { reason: "WrongTicket" });
    accepted += 1;
    return new PassThrough();
  };
  server.addAll([agentService(() => null), migrationTunnelService(accept, authenticateByCertificate(trusted, ["agent"]))]);
  address = `127.0.0.1:${await server.listen("127.0.0.1:0")}`;
  const [agent, control] = [await agentKeyPair(ca, "agent-a"), await ca.issueControl("compute")];
  asAgent = new ChannelPool({ credentials: () => ({ ...agent, caPem }) });
  asControl = new ChannelPool({ credentials: () => ({ ...control, caPem }) });
});

afterAll(async () => {
  asAgent.close();
  asControl.close();
  await server.stop(0);
  await removeCa();
});

/** What comes back for what is sent. */
async function carry(pool: ChannelPool, sent: Buffer, given: { ticket?: string; peerUri?: string } = {}): Promise<Buffer> {
  const [toTunnel, fromTunnel] = [new PassThrough(), new PassThrough()];
  const connection = Duplex.from({ readable: toTunnel, writable: fromTunnel });
  connection.on("error", () => undefined);
  toTunnel.end(sent);
  const heard: Buffer[] = [];
  fromTunnel.on("data", (chunk: Buffer) => heard.push(chunk));
  await tunnelTo(pool, { address, peerUri: PEER, migrationId: "m1", ticket: TICKET, ...given })("memory", connection, signal);
  return Buffer.concat(heard);
}

it("carries both directions to their ends, between agents", async () => {
  const sent = Buffer.alloc(3_000_000, "guest");
  expect((await carry(asAgent, sent)).equals(sent)).toBe(true);
});

it("refuses a wrong ticket, the control plane, and a destination that is another agent", async () => {
  const before = accepted;
  await expect(carry(asAgent, Buffer.from("x"), { ticket: "u".repeat(40) })).rejects.toMatchObject({ reason: "WrongTicket" });
  await expect(carry(asControl, Buffer.from("x"))).rejects.toMatchObject({ code: "FORBIDDEN" });
  await expect(carry(asAgent, Buffer.from("x"), { peerUri: "fleetgraph://agent/agent-c" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(accepted).toBe(before);
});

it("lets agents in to nothing else", async () => {
  using lease = asAgent.lease({ address, peerUri: PEER });
  await expect(lease.client(AgentServiceDefinition).getHardwareUsage({ nodeId: "node-1" })).rejects.toMatchObject({ code: "FORBIDDEN" });
  using control = asControl.lease({ address, peerUri: PEER });
  await expect(control.client(AgentServiceDefinition).getHardwareUsage({ nodeId: "node-1" })).rejects.toMatchObject({ code: "NOT_FOUND" });
});
