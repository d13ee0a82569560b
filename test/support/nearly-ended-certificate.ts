import "reflect-metadata";
import type { webcrypto } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { signingKey } from "../../platform/tls/certificate-request.ts";

/** A certificate of the same key, by the CA in the folder, in the last part of its life: it ends in 8 s. */
export async function nearlyEndedCertificate(certificatePem: string, caDir: string): Promise<string> {
  const own = new x509.X509Certificate(certificatePem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: "01",
    subject: own.subject,
    issuer: own.issuer,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 8000),
    publicKey: (await own.publicKey.export()) as webcrypto.CryptoKey,
    signingKey: await signingKey(await readFile(join(caDir, "ca.pem"), "utf8")),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    extensions: own.extensions,
  });
  return `${certificate.toString("pem")}\n`;
}
