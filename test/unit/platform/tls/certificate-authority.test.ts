import "reflect-metadata";
import { createHash, generateKeyPairSync, webcrypto, X509Certificate } from "node:crypto";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CA_CERTIFICATE_FILE, CA_FILE, CertificateAuthority, readOnlyCa } from "../../../../platform/tls/certificate-authority.ts";
import { createCertificateRequest } from "../../../../platform/tls/certificate-request.ts";
import { temporaryCa } from "../../../support/certificates.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
beforeAll(async () => {
  home = await temporaryCa();
});
afterAll(() => home.remove());

const refusal = (code: string, field?: string) =>
  expect.objectContaining({ code, ...(field && { details: expect.objectContaining({ field }) }) });

describe("the certificate authority on disk", () => {
  test("is made once and is the same when it is opened again", async () => {
    const again = await CertificateAuthority.open(home.dir);
    expect(again.certificatePem).toBe(home.ca.certificatePem);
    expect(again.fingerprint).toBe(createHash("sha256").update(again.certificateDer).digest("hex"));
  });

  test("can be read by its owner alone, and leaves nothing else behind", async () => {
    expect((await stat(home.dir)).mode & 0o777).toBe(0o700);
    expect((await stat(join(home.dir, CA_FILE))).mode & 0o777).toBe(0o600);
    expect((await readdir(home.dir)).sort()).toEqual([CA_CERTIFICATE_FILE, CA_FILE]);
  });

  test("is the same for all that open a fresh directory at once", async () => {
    const dir = await mkdtemp(join(tmpdir(), "fleetgraph-ca-"));
    const opened = await Promise.all(Array.from({ length: 8 }, () => CertificateAuthority.open(dir)));
    expect(new Set(opened.map((ca) => ca.fingerprint)).size).toBe(1);
    expect((await readdir(dir)).sort()).toEqual([CA_CERTIFICATE_FILE, CA_FILE]);
    // Each holds the key that belongs to the certificate.
    const { requestDer } = await createCertificateRequest();
    for (const ca of opened) {
      const { certificateDer } = await ca.signAgent(requestDer, "agent-1", 3600);
      expect(new X509Certificate(certificateDer).verify(new X509Certificate(ca.certificateDer).publicKey)).toBe(true);
    }
    await rm(dir, { recursive: true });
  });

  test("is refused where others can read the key", async () => {
    const { dir, remove } = await temporaryCa();
    await chmod(join(dir, CA_FILE), 0o640);
    await expect(CertificateAuthority.open(dir)).rejects.toEqual(refusal("FAILED_PRECONDITION"));
    await remove();
  });

  test("is refused, and not made anew, where its file is damaged", async () => {
    const { dir, remove } = await temporaryCa();
    const text = await readFile(join(dir, CA_FILE), "utf8");
    for (const damaged of [
      "",
      text.slice(0, text.length / 2),
      text.replace(/-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----/, ""),
    ]) {
      await writeFile(join(dir, CA_FILE), damaged, { mode: 0o600 });
      await expect(CertificateAuthority.open(dir)).rejects.toEqual(refusal("FAILED_PRECONDITION"));
      expect(await readFile(join(dir, CA_FILE), "utf8")).toBe(damaged);
    }
    await remove();
  });

  test("is refused where key and certificate are of two authorities", async () => {
    const [one, other] = await Promise.all([temporaryCa(), temporaryCa()]);
    const key = (await readFile(join(other.dir, CA_FILE), "utf8")).split("-----BEGIN CERTIFICATE")[0];
    await writeFile(join(one.dir, CA_FILE), key + one.ca.certificatePem, { mode: 0o600 });
    await expect(CertificateAuthority.open(one.dir)).rejects.toEqual(refusal("FAILED_PRECONDITION"));
    await Promise.all([one.remove(), other.remove()]);
  });
});

describe("signing an agent's request", () => {
  test("gives a certificate with the agent's URI, for client and server, valid a little before now and as long as asked", async () => {
    const { requestDer } = await createCertificateRequest();
    const before = Date.now();
    const { certificateDer, certificatePem, notAfter } = await home.ca.signAgent(requestDer, "agent-42", 7200);
    const certificate = new X509Certificate(certificateDer);
    expect(certificate.subjectAltName).toBe("URI:fleetgraph://agent/agent-42");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"]);
    expect(certificate.ca).toBe(false);
    expect(certificate.validFromDate.getTime()).toBeLessThan(before);
    expect(Math.abs(certificate.validToDate.getTime() - before - 7_200_000)).toBeLessThan(60_000);
    expect(notAfter).toEqual(certificate.validToDate);
    expect(new X509Certificate(certificatePem).raw).toEqual(certificateDer);
    expect(certificate.verify(new X509Certificate(home.ca.certificateDer).publicKey)).toBe(true);
  });

  test("takes nothing but the key from the request", async () => {
    const keys = (await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
      "sign",
      "verify",
    ])) as webcrypto.CryptoKeyPair;
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: "CN=Fleetgraph CA",
      keys,
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
      extensions: [
        new x509.BasicConstraintsExtension(true, 3, true),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: "fleetgraph://control/clusters" }]),
      ],
    });
    const { certificateDer } = await home.ca.signAgent(Buffer.from(request.rawData), "agent-1", 3600);
    const certificate = new X509Certificate(certificateDer);
    expect(certificate.subjectAltName).toBe("URI:fleetgraph://agent/agent-1");
    expect(certificate.ca).toBe(false);
    expect(certificate.subject).not.toContain("Fleetgraph CA");
  });

  test("refuses a request whose signature is not by the key in it", async () => {
    const { requestDer } = await createCertificateRequest();
    const other = (await createCertificateRequest()).requestDer;
    // The signature is at the end; the other request's is of the same kind and of another key.
    const forged = Buffer.concat([requestDer.subarray(0, requestDer.length - 60), other.subarray(other.length - 60)]);
    await expect(home.ca.signAgent(forged, "agent-1", 3600)).rejects.toEqual(refusal("INVALID_ARGUMENT", "certificate_request"));
  });

  test.each([
    ["nothing", Buffer.alloc(0)],
    ["garbage", Buffer.from("not a request")],
    ["a huge request", Buffer.alloc(100_000, 0x30)],
    ["a certificate instead", null],
  ])("refuses %s", async (_what, bytes) => {
    await expect(home.ca.signAgent(bytes ?? home.ca.certificateDer, "agent-1", 3600)).rejects.toEqual(
      refusal("INVALID_ARGUMENT", "certificate_request"),
    );
  });

  test.each([
    { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
    { name: "ECDSA", namedCurve: "P-384", hash: "SHA-256" },
    { name: "Ed25519", namedCurve: "" },
  ])("refuses a key that is not P-256: $name $namedCurve", async (algorithm) => {
    const keys = (await webcrypto.subtle.generateKey(algorithm as webcrypto.EcKeyGenParams, true, [
      "sign",
      "verify",
    ])) as webcrypto.CryptoKeyPair;
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: "CN=x",
      keys,
      signingAlgorithm: algorithm as webcrypto.EcdsaParams,
    });
    await expect(home.ca.signAgent(Buffer.from(request.rawData), "agent-1", 3600)).rejects.toEqual(
      refusal("INVALID_ARGUMENT", "certificate_request"),
    );
  });

  test.each(["", "a/b", "a b", "a,URI:fleetgraph://control/x", "ä", "x".repeat(129)])("refuses %j as an agent's id", async (id) => {
    const { requestDer } = await createCertificateRequest();
    await expect(home.ca.signAgent(requestDer, id, 3600)).rejects.toEqual(refusal("INVALID_ARGUMENT", "agentId"));
  });

  test.each([0, 59, 1.5, Number.NaN, 400 * 86_400])("refuses a life of %d seconds", async (ttl) => {
    const { requestDer } = await createCertificateRequest();
    await expect(home.ca.signAgent(requestDer, "agent-1", ttl)).rejects.toEqual(refusal("INVALID_ARGUMENT", "ttlSeconds"));
  });
});

describe("the control plane's own certificates", () => {
  test("a server's has its hosts and URI and does not serve as a client's", async () => {
    const { certificatePem } = await home.ca.issueServer({ hosts: ["fleet.example", "10.0.0.1", "::1"], uri: "fleetgraph://control/up" });
    const certificate = new X509Certificate(certificatePem);
    expect(certificate.checkHost("fleet.example")).toBe("fleet.example");
    expect(certificate.checkIP("10.0.0.1")).toBe("10.0.0.1");
    expect(certificate.checkIP("::1")).toBe("::1");
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  });

  test("a server's URI must be one of ours", async () => {
    await expect(home.ca.issueServer({ hosts: [], uri: "https://evil.example" })).rejects.toEqual(refusal("INVALID_ARGUMENT", "uri"));
  });

  test("a certificate that is not a CA's is no CA", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(privateKey.type).toBe("private");
    expect(() => readOnlyCa("garbage")).toThrow(refusal("FAILED_PRECONDITION"));
  });

  test("the CA is known by its certificate alone", async () => {
    const { certificatePem } = await home.ca.issueControl("clusters");
    expect(readOnlyCa(home.ca.certificatePem).fingerprint).toBe(home.ca.fingerprint);
    expect(() => readOnlyCa(certificatePem)).toThrow();
  });
});
