import { afterAll, beforeAll, expect, test } from "vitest";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import type { KeyPair } from "../../../platform/tls/certificate-files.ts";
import { createCertificateRequest } from "../../../platform/tls/certificate-request.ts";
import { identityFromCertificate } from "../../../platform/tls/peer.ts";
import type { CertificateResponse } from "../../../schema/generated/proto/hypervisor/v1/agent.ts";
import { ClusterServiceDefinition, NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { issueJoinToken } from "../../../subgraphs/clusters/main.ts";
import { agentKeyPair } from "../../support/certificates.ts";
import { CLUSTERS_VARIANTS, ClustersFleet, type ClustersReplica, refusal, registration } from "../../support/clusters-fleet.ts";
import { describeWithPeers } from "../../support/peers.ts";

const DAY_MS = 86_400_000;

function toPem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
}

for (const variant of CLUSTERS_VARIANTS) {
  describeWithPeers(`joining on ${variant.name}`, variant.peers, () => {
    let fleet: ClustersFleet;
    let replica: ClustersReplica;

    beforeAll(async () => {
      fleet = await ClustersFleet.open(variant.name);
      replica = await fleet.replica();
    });
    afterAll(() => fleet?.close());

    /** As the CLI makes it: on the database, beside the running server. */
    const newToken = async (uses = 1, ttlSeconds = 600) =>
      (await issueJoinToken(fleet.databaseUrl, createLogger({ name: "test", level: "silent" }), { uses, ttlSeconds })).secret;
    const join = (token: string, certificateRequest: Buffer) => fleet.enrollment(replica).join({ token, certificateRequest });

    async function joined(): Promise<{ response: CertificateResponse; pair: KeyPair }> {
      const { keyPem, requestDer } = await createCertificateRequest();
      const response = await join(await newToken(), requestDer);
      return { response, pair: { keyPem, certificatePem: toPem(response.certificate) } };
    }

    test("a token gives a certificate with an id of its own, with which the host registers", async () => {
      const { response, pair } = await joined();
      expect(response.agentId).toMatch(/^agent-[a-z0-9]{16}$/);
      expect(identityFromCertificate(response.certificate, fleet.ca)).toEqual({ kind: "agent", agentId: response.agentId });
      expect(Buffer.from(response.caCertificate)).toEqual(fleet.ca.certificateDer);
      const days = (response.notAfter!.getTime() - Date.now()) / DAY_MS;
      expect(days).toBeGreaterThan(29.9);
      expect(days).toBeLessThanOrEqual(30);
      const cluster = grpcClient(ClusterServiceDefinition, fleet.agentChannel(replica, pair));
      const { nodeId } = await cluster.registerNode(registration("joined"));
      expect(await cluster.getNode({ nodeId })).toMatchObject({ agentId: response.agentId });
    });

    test("a token that was used, has expired or was never made is refused with a reason", async () => {
      const [first, second] = [await createCertificateRequest(), await createCertificateRequest()];
      const used = await newToken();
      await join(used, first.requestDer);
      const refused = (reason: string) => ({ code: "UNAUTHENTICATED", reason });
      expect(await refusal(join(used, second.requestDer))).toMatchObject(refused("JoinTokenUsed"));
      expect(await refusal(join("never-made", second.requestDer))).toMatchObject(refused("JoinTokenUnknown"));
      expect(await refusal(join("", second.requestDer))).toMatchObject(refused("JoinTokenUnknown"));
      const short = await newToken(1, 1);
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      expect(await refusal(join(short, second.requestDer))).toMatchObject(refused("JoinTokenExpired"));
    });

    test("the same key may ask again with the same token: its answer may have been lost", async () => {
      const token = await newToken();
      const { requestDer } = await createCertificateRequest();
      const [first, again] = [await join(token, requestDer), await join(token, requestDer)];
      expect(again.agentId).toBe(first.agentId);
      expect(Buffer.from(again.certificate)).not.toEqual(Buffer.from(first.certificate));
    });

    test("the last use of a token goes to one of those who ask at once", async () => {
      const token = await newToken(3);
      const requests = await Promise.all(Array.from({ length: 8 }, () => createCertificateRequest()));
      const answers = await Promise.allSettled(requests.flatMap(({ requestDer }) => [join(token, requestDer), join(token, requestDer)]));
      const ids = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value.agentId] : []));
      expect(new Set(ids).size).toBe(3);
      expect(ids).toHaveLength(6);
      for (const answer of answers) if (answer.status === "rejected") expect(answer.reason).toMatchObject({ reason: "JoinTokenUsed" });
    });

    test("a request that is none takes no use of the token", async () => {
      const token = await newToken();
      const bad = await refusal(join(token, Buffer.from("no request")));
      expect(bad).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "certificate_request" } });
      await join(token, (await createCertificateRequest()).requestDer);
    });

    test("a certificate is renewed for the same id, with the certificate itself only", async () => {
      const { response, pair } = await joined();
      const { requestDer } = await createCertificateRequest();
      const renewed = await fleet.enrollment(replica, pair).renew({ certificateRequest: requestDer });
      expect(identityFromCertificate(renewed.certificate, fleet.ca)).toEqual({ kind: "agent", agentId: response.agentId });
      expect(await refusal(fleet.enrollment(replica).renew({ certificateRequest: requestDer }))).toMatchObject({ code: "UNAUTHENTICATED" });
      const control = await fleet.ca.issueControl("nodes");
      expect(await refusal(fleet.enrollment(replica, control).renew({ certificateRequest: requestDer }))).toMatchObject({
        code: "FORBIDDEN",
      });
    });

    test("an agent whose node was deregistered gets no new certificate until it is admitted", async () => {
      const { pair } = await joined();
      const admin = await fleet.user(replica, "admin");
      const { nodeId } = await grpcClient(ClusterServiceDefinition, fleet.agentChannel(replica, pair)).registerNode(
        registration("removed"),
      );
      await admin.deregisterNode({ nodeId });
      const { requestDer } = await createCertificateRequest();
      const renew = () => fleet.enrollment(replica, pair).renew({ certificateRequest: requestDer });
      expect(await refusal(renew())).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NodeDeregistered", details: { id: nodeId } });
      await admin.admitNode({ nodeId });
      await renew();
    });

    test("the agents' port lets nobody report a node without a certificate, or with that of another", async () => {
      const owner = await fleet.agent(replica, "agent-owner");
      const { nodeId } = await owner.registerNode(registration("owned"));
      const anonymous = grpcClient(ClusterServiceDefinition, fleet.agentChannel(replica));
      expect(await refusal(anonymous.heartbeat({ nodeId, status: NodeStatus.READY }))).toMatchObject({ code: "UNAUTHENTICATED" });
      expect(await refusal(anonymous.registerNode(registration("anonymous")))).toMatchObject({ code: "UNAUTHENTICATED" });
      const thief = grpcClient(ClusterServiceDefinition, fleet.agentChannel(replica, await agentKeyPair(fleet.ca, "agent-thief")));
      const notYours = { code: "FORBIDDEN", reason: "NotYourNode" };
      expect(await refusal(thief.heartbeat({ nodeId, status: NodeStatus.READY }))).toMatchObject(notYours);
      expect(await refusal(thief.registerNode(registration("thief", { nodeId })))).toMatchObject(notYours);
      expect(await refusal(thief.updateNodeStatus({ nodeId, status: NodeStatus.READY }))).toMatchObject(notYours);
    });
  });
}
