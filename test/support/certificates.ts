import "reflect-metadata";
import { createHash, type webcrypto } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { CA_FILE, CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import { type KeyPair, parseKeyPair } from "../../platform/tls/certificate-files.ts";
import {
  createCertificateRequest,
  generateKeys,
  privateKeyPem,
  SIGNING_ALGORITHM,
  signingKey,
} from "../../platform/tls/certificate-request.ts";

/** A CA in a directory of its own, that the test removes. */
export async function temporaryCa(): Promise<{ ca: CertificateAuthority; dir: string; remove(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), "fleetgraph-ca-"));
  return { ca: await CertificateAuthority.open(dir), dir, remove: () => rm(dir, { recursive: true, force: true }) };
}

/** An agent's key and certificate, as it gets them when it joins. */
export async function agentKeyPair(ca: CertificateAuthority, agentId: string, ttlSeconds = 3600): Promise<KeyPair> {
  const { keyPem, requestDer } = await createCertificateRequest();
  return { keyPem, certificatePem: (await ca.signAgent(requestDer, agentId, ttlSeconds)).certificatePem };
}

export interface OddCertificate {
  uris?: string[];
  dns?: string[];
  usages?: x509.ExtendedKeyUsage[];
  notBefore?: Date;
  notAfter?: Date;
  isCa?: boolean;
  issuer?: string;
  /** Signs with this key instead of the CA's: a forgery. */
  key?: webcrypto.CryptoKey;
}

/** A certificate such as the CA would never make, signed with the key in its directory unless `key` is given. */
export async function oddCertificate(caDir: string, odd: OddCertificate = {}): Promise<KeyPair & { der: Buffer }> {
  const caPair = parseKeyPair(await readFile(join(caDir, CA_FILE), "utf8"), CA_FILE);
  const ca = new x509.X509Certificate(caPair.certificatePem);
  const keys = await generateKeys();
  const names = [
    ...(odd.uris ?? ["fleetgraph://agent/agent-1"]).map((value) => ({ type: "url" as const, value })),
    ...(odd.dns ?? []).map((value) => ({ type: "dns" as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: createHash("sha256")
      .update(String(Math.random()))
      .digest("hex")
      .slice(0, 16)
      .replace(/^[89a-f]/, "1"),
    subject: "CN=odd",
    issuer: odd.issuer ?? ca.subject,
    notBefore: odd.notBefore ?? new Date(Date.now() - 60_000),
    notAfter: odd.notAfter ?? new Date(Date.now() + 3_600_000),
    publicKey: keys.publicKey,
    signingKey: odd.key ?? (await signingKey(caPair.keyPem)),
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(odd.isCa ?? false, undefined, true),
      new x509.ExtendedKeyUsageExtension(odd.usages ?? [x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      // As the CA's own: a forgery that differs in nothing but the signature.
      await x509.AuthorityKeyIdentifierExtension.create(ca),
    ],
  });
  return {
    der: Buffer.from(certificate.rawData),
    certificatePem: certificate.toString("pem"),
    keyPem: await privateKeyPem(keys.privateKey),
  };
}
