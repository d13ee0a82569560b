import "reflect-metadata";
import { once } from "node:events";
import { connect as tlsConnect } from "node:tls";
import * as x509 from "@peculiar/x509";
import { Metadata } from "nice-grpc";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Identity } from "../../../../platform/auth/identity.ts";
import { authenticateByCertificate } from "../../../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../../../platform/grpc/channel.ts";
import { ServerTls } from "../../../../platform/grpc/server-tls.ts";
import type { KeyPair } from "../../../../platform/tls/certificate-files.ts";
import { generateKeys } from "../../../../platform/tls/certificate-request.ts";
import { fetchPinnedCa } from "../../../../platform/tls/pinned-ca.ts";
import { agentKeyPair, oddCertificate, temporaryCa } from "../../../support/certificates.ts";
import { type GrpcPair, grpcPair } from "../../../support/grpc-pair.ts";
import { until } from "../../../support/until.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
let stranger: Awaited<ReturnType<typeof temporaryCa>>;
let serverPair: KeyPair;
beforeAll(async () => {
  home = await temporaryCa();
  stranger = await temporaryCa();
  serverPair = await home.ca.issueControl("clusters");
});
afterAll(() => Promise.all([home.remove(), stranger.remove()]));

/** A server on which `getClusterInfo` answers with the caller's identity as JSON. */
async function whoAmI(clientCertificates: "none" | "optional" | "required", kinds?: Array<"agent" | "control">, pair = serverPair) {
  const credentials = new ServerTls({ ...pair, caPem: home.ca.certificatePem, clientCertificates });
  const grpc = await grpcPair(
    { getClusterInfo: async (_request, { fleet }) => ({ clusterName: JSON.stringify(fleet.identity) }) },
    { credentials, authenticate: authenticateByCertificate(home.ca, kinds) },
  );
  return Object.assign(grpc, { credentials });
}

async function ask(
  pair: GrpcPair,
  own?: KeyPair,
  peerUri = "fleetgraph://control/clusters",
  metadata?: Metadata,
): Promise<Identity | null> {
  const client = pair.connect({ caPem: home.ca.certificatePem, peerUri, certificatePem: own?.certificatePem, keyPem: own?.keyPem });
  const { clusterName } = await client.getClusterInfo({}, { metadata });
  return JSON.parse(clusterName) as Identity | null;
}

const hour = 3_600_000;
const forged = async () => oddCertificate(home.dir, { key: (await generateKeys()).privateKey });
/** Certificates that stand for nobody, each with the reason why. */
const nobodies: Array<[string, () => Promise<KeyPair>]> = [
  ["of another CA with the same subject", () => agentKeyPair(stranger.ca, "agent-1")],
  [
    "that has run out",
    () => oddCertificate(home.dir, { notBefore: new Date(Date.now() - 2 * hour), notAfter: new Date(Date.now() - hour) }),
  ],
  [
    "that does not hold yet",
    () => oddCertificate(home.dir, { notBefore: new Date(Date.now() + hour), notAfter: new Date(Date.now() + 2 * hour) }),
  ],
  ["of a server", () => oddCertificate(home.dir, { usages: [x509.ExtendedKeyUsage.serverAuth] })],
];
const nameless: Array<[string, () => Promise<KeyPair>]> = [
  ["without a name", () => oddCertificate(home.dir, { uris: [] })],
  ["with two names", () => oddCertificate(home.dir, { uris: ["fleetgraph://agent/agent-1", "fleetgraph://control/clusters"] })],
];

describe("where a client certificate is optional", () => {
  test("an agent and a part of the control plane are known by theirs", async () => {
    await using pair = await whoAmI("optional");
    expect(await ask(pair, await agentKeyPair(home.ca, "agent-7"))).toEqual({ kind: "agent", agentId: "agent-7" });
    expect(await ask(pair, await home.ca.issueControl("nodes"))).toEqual({ kind: "control", name: "nodes" });
  });

  test("a client without one gets through, as nobody", async () => {
    await using pair = await whoAmI("optional");
    expect(await ask(pair)).toBeNull();
  });

  test.each([...nobodies, ...nameless])("a certificate %s is refused, not taken for none", async (_what, make) => {
    await using pair = await whoAmI("optional");
    await expect(ask(pair, await make())).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidCertificate" });
  });

  test("a certificate that is forged in everything but the signature ends its own connection, and no other", async () => {
    await using pair = await whoAmI("optional");
    const other = pair.connect({ caPem: home.ca.certificatePem, peerUri: "fleetgraph://control/clusters" });
    await other.getClusterInfo({});
    for (let round = 0; round < 5; round += 1) {
      await expect(ask(pair, await forged())).rejects.toMatchObject({ code: expect.stringMatching(/^(UNAVAILABLE|UNAUTHENTICATED)$/) });
      await other.getClusterInfo({});
    }
  });

  test("a certificate that runs out while its connection is open is refused from then on", async () => {
    await using pair = await whoAmI("optional");
    const own = await oddCertificate(home.dir, { notAfter: new Date(Date.now() + 2000) });
    const client = pair.connect({ caPem: home.ca.certificatePem, peerUri: "fleetgraph://control/clusters", ...own });
    await client.getClusterInfo({});
    await until(
      () =>
        client.getClusterInfo({}).then(
          () => false,
          (error) => error.code === "UNAUTHENTICATED",
        ),
      "the certificate to run out",
    );
  });

  test("nobody becomes somebody by metadata, and it harms nobody", async () => {
    const credentials = new ServerTls({ ...serverPair, caPem: home.ca.certificatePem, clientCertificates: "optional" });
    await using pair = await grpcPair(
      {
        async getClusterInfo(_request, { fleet }) {
          return { clusterName: JSON.stringify(fleet.identity) };
        },
      },
      { credentials, authenticate: authenticateByCertificate(home.ca) },
    );
    const victim = await oddCertificate(home.dir);
    for (const value of [victim.der, Buffer.alloc(0), Buffer.from(JSON.stringify({ peerCertificate: victim.der }))]) {
      const spoofed = Metadata({ "fleetgraph-call-bin": [value, value] });
      expect(await ask(pair, undefined, undefined, spoofed)).toBeNull();
      // Nor does it harm who has a name.
      expect(await ask(pair, await agentKeyPair(home.ca, "agent-7"), undefined, spoofed)).toEqual({ kind: "agent", agentId: "agent-7" });
    }
  });
});

describe("where a client certificate is required", () => {
  test("the control plane gets through to an agent, and the agent's own kind does not", async () => {
    const agent = await agentKeyPair(home.ca, "agent-7");
    await using pair = await whoAmI("required", ["control"], agent);
    expect(await ask(pair, await home.ca.issueControl("nodes"), "fleetgraph://agent/agent-7")).toEqual({ kind: "control", name: "nodes" });
    const other = await agentKeyPair(home.ca, "agent-8");
    await expect(ask(pair, other, "fleetgraph://agent/agent-7")).rejects.toMatchObject({
      code: "FORBIDDEN",
      reason: "WrongCertificateKind",
    });
  });

  test.each([...nobodies, ["that is forged in everything but the signature", forged], ["at all", async () => undefined]] as Array<
    [string, () => Promise<KeyPair | undefined>]
  >)("a client does not get through the handshake with no certificate %s", async (_what, make) => {
    await using pair = await whoAmI("required");
    await expect(ask(pair, await make())).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(pair.lines.filter(({ method }) => method !== undefined)).toEqual([]);
  });
});

describe("a client", () => {
  test("refuses a server of another CA, though its names are right", async () => {
    await using pair = await whoAmI("optional", undefined, await stranger.ca.issueControl("clusters"));
    await expect(ask(pair)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("refuses a server that is somebody else", async () => {
    await using pair = await whoAmI("optional", undefined, await agentKeyPair(home.ca, "agent-8"));
    await expect(ask(pair, undefined, "fleetgraph://agent/agent-7")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(ask(pair, undefined, "fleetgraph://agent/agent-")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await ask(pair, undefined, "fleetgraph://agent/agent-8")).toBeNull();
  });

  test("refuses a server whose certificate has run out", async () => {
    const expired = await oddCertificate(home.dir, {
      uris: ["fleetgraph://control/clusters"],
      notBefore: new Date(0),
      notAfter: new Date(hour),
    });
    await using pair = await whoAmI("optional", undefined, expired);
    await expect(ask(pair)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("checks the host name where no name of ours is expected", async () => {
    const named = await home.ca.issueServer({ hosts: ["127.0.0.1"], uri: "fleetgraph://control/up" });
    await using right = await whoAmI("none", undefined, named);
    expect((await right.connect({ caPem: home.ca.certificatePem }).getClusterInfo({})).clusterName).toBe("null");
    await using wrong = await whoAmI(
      "none",
      undefined,
      await home.ca.issueServer({ hosts: ["other.example"], uri: "fleetgraph://control/up" }),
    );
    await expect(wrong.connect({ caPem: home.ca.certificatePem }).getClusterInfo({})).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("sends nothing in the clear to another machine", () => {
    expect(() => createGrpcChannel("10.0.0.1:50051")).toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
    expect(() => createGrpcChannel("fleet.example:50051")).toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
    createGrpcChannel("localhost:50051").close();
    createGrpcChannel("[::1]:50051").close();
  });

  test("does not work with a key that belongs to another certificate", async () => {
    const [one, other] = await Promise.all([agentKeyPair(home.ca, "a"), agentKeyPair(home.ca, "b")]);
    expect(() =>
      createGrpcChannel("127.0.0.1:1", { caPem: home.ca.certificatePem, certificatePem: one.certificatePem, keyPem: other.keyPem }),
    ).toThrow(expect.objectContaining({ code: "FAILED_PRECONDITION" }));
  });
});

describe("a server's certificate", () => {
  test("is replaced while it serves: open connections go on, new ones see the new one", async () => {
    await using pair = await whoAmI("optional");
    const before = pair.connect({ caPem: home.ca.certificatePem, peerUri: "fleetgraph://control/clusters" });
    await before.getClusterInfo({});
    pair.credentials.replace(await home.ca.issueControl("renewed"));
    await before.getClusterInfo({});
    expect(await ask(pair, await agentKeyPair(home.ca, "agent-7"), "fleetgraph://control/renewed")).toEqual({
      kind: "agent",
      agentId: "agent-7",
    });
    await expect(ask(pair, undefined, "fleetgraph://control/clusters")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("is kept where the new one is unusable", async () => {
    await using pair = await whoAmI("optional");
    expect(() => pair.credentials.replace({ certificatePem: "x", keyPem: serverPair.keyPem })).toThrow(
      expect.objectContaining({ code: "FAILED_PRECONDITION" }),
    );
    expect(await ask(pair)).toBeNull();
  });

  test("is never spoken to with less than TLS 1.3 where agents connect", async () => {
    await using pair = await whoAmI("optional");
    const old = tlsConnect({ port: pair.port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: "TLSv1.2", ALPNProtocols: ["h2"] });
    const [error] = await once(old, "error");
    expect(String(error)).toMatch(/protocol version/i);
  });
});

describe("a host that joins", () => {
  test("gets the CA that its token pins, from the server itself", async () => {
    await using pair = await whoAmI("optional");
    const found = await fetchPinnedCa({ host: "127.0.0.1", port: pair.port, fingerprint: home.ca.fingerprint });
    expect(found.certificatePem).toBe(home.ca.certificatePem);
    const upper = await fetchPinnedCa({ host: "localhost", port: pair.port, fingerprint: home.ca.fingerprint.toUpperCase() });
    expect(upper.fingerprint).toBe(home.ca.fingerprint);
  });

  test.each(["", "00", "zz", "f".repeat(64)])("refuses a CA with another fingerprint: %s", async (fingerprint) => {
    await using pair = await whoAmI("optional");
    await expect(fetchPinnedCa({ host: "127.0.0.1", port: pair.port, fingerprint })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      reason: "CaMismatch",
    });
  });

  test("refuses a server that shows the right CA with a certificate that it did not sign", async () => {
    const impostor = await stranger.ca.issueControl("clusters");
    // Its chain ends in the stranger's leaf, followed by our CA.
    await using pair = await whoAmI("optional", undefined, impostor);
    await expect(fetchPinnedCa({ host: "127.0.0.1", port: pair.port, fingerprint: home.ca.fingerprint })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
  });

  test("refuses an agent that poses as the control plane", async () => {
    await using pair = await whoAmI("optional", undefined, await agentKeyPair(home.ca, "agent-8"));
    await expect(fetchPinnedCa({ host: "127.0.0.1", port: pair.port, fingerprint: home.ca.fingerprint })).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
  });

  test("gives up on a server that is silent, or when it is told to", async () => {
    const { createServer } = await import("node:net");
    const silent = createServer(() => undefined).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const target = { host: "127.0.0.1", port, fingerprint: home.ca.fingerprint };
    await expect(fetchPinnedCa({ ...target, timeoutMs: 50 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(fetchPinnedCa({ ...target, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(fetchPinnedCa({ ...target, port: 1 })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    silent.close();
  });
});
