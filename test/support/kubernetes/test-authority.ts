import "reflect-metadata";
import { randomBytes, type webcrypto } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import { generateKeys, privateKeyPem, SIGNING_ALGORITHM } from "../../../platform/tls/certificate-request.ts";

export interface TestCertificateOptions {
  /** For the API server: the user. */
  commonName: string;
  /** For the API server: the user's groups. */
  organizations?: string[];
  /** Host names and addresses of a server. */
  names?: string[];
  /** A minute ago unless told. */
  notBefore?: Date;
  /** In a day unless told. */
  notAfter?: Date;
}

export interface TestCertificate {
  certificatePem: string;
  keyPem: string;
}

const DAY_MS = 86_400_000;

/** An authority of a test's own, which signs whatever it is asked to. */
export class TestAuthority {
  readonly caPem: string;
  readonly #issuer: string;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.caPem = pem(certificate);
    this.#issuer = certificate.subject;
    this.#key = key;
  }

  static async create(commonName = "test authority"): Promise<TestAuthority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: new x509.Name([{ CN: [commonName] }]).toString(),
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + 365 * DAY_MS),
      keys,
      signingAlgorithm: SIGNING_ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature, true),
      ],
    });
    return new TestAuthority(certificate, keys.privateKey);
  }

  /** A certificate for clients and servers alike. */
  async sign(options: TestCertificateOptions): Promise<TestCertificate> {
    const { commonName, organizations = [], names = [] } = options;
    const keys = await generateKeys();
    const subject = [{ CN: [commonName] }, ...organizations.map((organization) => ({ O: [organization] }))];
    const alternatives = names.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value }));
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: new x509.Name(subject).toString(),
      issuer: this.#issuer,
      notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
      notAfter: options.notAfter ?? new Date(Date.now() + DAY_MS),
      publicKey: keys.publicKey,
      signingKey: this.#key,
      signingAlgorithm: SIGNING_ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
        ...(alternatives.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(alternatives)]),
      ],
    });
    return { certificatePem: pem(certificate), keyPem: await privateKeyPem(keys.privateKey) };
  }
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem")}\n`;
}

/** Positive, of 8 bytes. */
function serialNumber(): string {
  return `1${randomBytes(8).toString("hex").slice(1)}`;
}
