import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CertificateAuthority, readOnlyCa } from "../../../../platform/tls/certificate-authority.ts";
import { createCertificateRequest, generateKeys } from "../../../../platform/tls/certificate-request.ts";
import { identityFromCertificate } from "../../../../platform/tls/peer.ts";
import { oddCertificate, temporaryCa } from "../../../support/certificates.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
let ca: CertificateAuthority;
beforeAll(async () => {
  home = await temporaryCa();
  ca = home.ca;
});
afterAll(() => home.remove());

const agent = { kind: "agent", agentId: "agent-1" };
const der = (pem: string) => new x509.X509Certificate(pem).rawData;

describe("who a certificate stands for", () => {
  test("an agent", async () => {
    const { requestDer } = await createCertificateRequest();
    const { certificateDer } = await ca.signAgent(requestDer, "agent-1", 3600);
    expect(identityFromCertificate(certificateDer, ca)).toEqual(agent);
    // Known by now, and by the certificate of the CA alone.
    expect(identityFromCertificate(certificateDer, ca)).toEqual(agent);
    expect(identityFromCertificate(certificateDer, readOnlyCa(ca.certificatePem))).toEqual(agent);
  });

  test("a part of the control plane, with hosts or without", async () => {
    for (const hosts of [[], ["10.0.0.1", "fleet.example"]]) {
      const { certificatePem } = await ca.issueControl("clusters", hosts);
      expect(identityFromCertificate(new Uint8Array(der(certificatePem)), ca)).toEqual({ kind: "control", name: "clusters" });
    }
  });

  test("the helper of these tests makes certificates that pass unless they are odd", async () => {
    expect(identityFromCertificate((await oddCertificate(home.dir)).der, ca)).toEqual(agent);
  });
});

describe("nobody is known by", () => {
  test("a certificate of another CA with the same subject", async () => {
    const other = await temporaryCa();
    const { requestDer } = await createCertificateRequest();
    const { certificateDer } = await other.ca.signAgent(requestDer, "agent-1", 3600);
    expect(identityFromCertificate(certificateDer, ca)).toBeNull();
    expect(identityFromCertificate(certificateDer, other.ca)).toEqual(agent);
    await other.remove();
  });

  test("a forgery that differs in its signature alone", async () => {
    const { privateKey } = await generateKeys();
    expect(identityFromCertificate((await oddCertificate(home.dir, { key: privateKey })).der, ca)).toBeNull();
  });

  test("the CA's own certificate, or a certificate that could be a CA", async () => {
    expect(identityFromCertificate(ca.certificateDer, ca)).toBeNull();
    expect(identityFromCertificate((await oddCertificate(home.dir, { isCa: true })).der, ca)).toBeNull();
  });

  test("a server's certificate", async () => {
    const { certificatePem } = await ca.issueServer({ hosts: ["localhost"], uri: "fleetgraph://control/up" });
    expect(identityFromCertificate(new Uint8Array(der(certificatePem)), ca)).toBeNull();
    const server = await oddCertificate(home.dir, { usages: [x509.ExtendedKeyUsage.serverAuth] });
    expect(identityFromCertificate(server.der, ca)).toBeNull();
  });

  test("a certificate that has run out or does not hold yet, also where it held when it was first seen", async () => {
    const now = Date.now();
    const { der } = await oddCertificate(home.dir, { notBefore: new Date(now - 60_000), notAfter: new Date(now + 60_000) });
    expect(identityFromCertificate(der, ca, now)).toEqual(agent);
    expect(identityFromCertificate(der, ca, now + 61_000)).toBeNull();
    expect(identityFromCertificate(der, ca, now - 61_000)).toBeNull();
    const expired = await oddCertificate(home.dir, { notBefore: new Date(now - 7_200_000), notAfter: new Date(now - 3_600_000) });
    expect(identityFromCertificate(expired.der, ca)).toBeNull();
  });

  test.each([
    [[]],
    [["fleetgraph://agent/"]],
    [["fleetgraph://node/agent-1"]],
    [["fleetgraph://agent/agent-1/x"]],
    [["FLEETGRAPH://agent/agent-1"]],
    [["https://agent/agent-1"]],
    [["fleetgraph://agent/agent-1", "fleetgraph://control/clusters"]],
    [["fleetgraph://agent/agent-1", "https://example.org"]],
    [["fleetgraph://agent/a, URI:fleetgraph://control/b"]],
  ])("the names %j", async (uris) => {
    expect(identityFromCertificate((await oddCertificate(home.dir, { uris })).der, ca)).toBeNull();
  });

  test("a host name that looks like a second name", async () => {
    const forged = await oddCertificate(home.dir, { uris: [], dns: ["x, URI:fleetgraph://control/clusters"] });
    expect(identityFromCertificate(forged.der, ca)).toBeNull();
  });

  test("bytes that are no certificate", () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from("garbage"), Buffer.alloc(100_000, 0x30)]) {
      expect(identityFromCertificate(bytes, ca)).toBeNull();
    }
  });
});
