import "reflect-metadata";
import { createHash, randomBytes, type webcrypto, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { FleetError, invalidArgument } from "../errors/fleet-error.ts";
import {
  createFileOnce,
  type KeyPair,
  keyPairText,
  makePrivateDir,
  parseKeyPair,
  readPrivateFile,
  replaceFile,
} from "./certificate-files.ts";
import { agentUri, controlUri, parseCertificateUri } from "./certificate-names.ts";
import { generateKeys, privateKeyPem, SIGNING_ALGORITHM, signingKey, verifyCertificateRequest } from "./certificate-request.ts";

/** The CA as those see it who only check its signatures. */
export interface TrustedCa {
  readonly certificateDer: Buffer;
  readonly certificatePem: string;
  /** SHA-256 of the DER, lower-case hexadecimal. */
  readonly fingerprint: string;
}

export interface SignedCertificate {
  certificateDer: Buffer;
  certificatePem: string;
  notAfter: Date;
}

/** Key and certificate of the CA, in one file so that they cannot come apart. */
export const CA_FILE = "ca.pem";
/** The certificate alone, for parts that only check. */
export const CA_CERTIFICATE_FILE = "ca-certificate.pem";

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** Of the control plane's own certificates, which are issued anew at every start and renewed while it runs. */
const OWN_DAYS = 90;
/** Hosts whose clocks are behind can still use a fresh certificate. */
const BACKDATED_MS = 3_600_000;
const MIN_TTL_SECONDS = 60;
const MAX_TTL_SECONDS = 365 * 86_400;
const CA_SUBJECT = "CN=Fleetgraph CA";

/** The fleet's own certificate authority: ECDSA P-256, made when it is first opened. */
export class CertificateAuthority implements TrustedCa {
  readonly certificateDer: Buffer;
  readonly certificatePem: string;
  readonly fingerprint: string;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificatePem: string, key: webcrypto.CryptoKey) {
    ({
      certificateDer: this.certificateDer,
      certificatePem: this.certificatePem,
      fingerprint: this.fingerprint,
    } = readOnlyCa(certificatePem));
    this.#certificate = new x509.X509Certificate(new Uint8Array(this.certificateDer));
    this.#key = key;
  }

  /**
   * Opens the CA in `dir`, made where it is missing. Of several processes that make it at once, one wins and all get its CA.
   * Throws FAILED_PRECONDITION where the key is open to others or the file is damaged.
   */
  static async open(dir: string): Promise<CertificateAuthority> {
    await makePrivateDir(dir);
    const file = join(dir, CA_FILE);
    let text = await readPrivateFile(file);
    if (text === null) {
      await createFileOnce(file, keyPairText(await makeCa()));
      text = await readPrivateFile(file);
    }
    if (text === null) throw new FleetError("FAILED_PRECONDITION", `${file} disappeared while it was opened.`);
    const pair = parseKeyPair(text, file);
    const authority = new CertificateAuthority(pair.certificatePem, await signingKey(pair.keyPem));
    await replaceFile(join(dir, CA_CERTIFICATE_FILE), authority.certificatePem, 0o644);
    return authority;
  }

  /** A server's certificate with its host names and IP addresses; it does not serve as a client's. `uri` must be one of ours. */
  async issueServer(options: { hosts: string[]; uri: string }): Promise<KeyPair> {
    if (parseCertificateUri(options.uri) === null)
      throw invalidArgument("uri", "The URI must be fleetgraph://agent/… or fleetgraph://control/….");
    return this.#issue(options.uri, options.hosts, [x509.ExtendedKeyUsage.serverAuth]);
  }

  /** The certificate of a part of the control plane, as client and server. `hosts`: names it is reached by from elsewhere. */
  async issueControl(name: string, hosts: string[] = []): Promise<KeyPair> {
    return this.#issue(controlUri(name), hosts, [x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]);
  }

  /**
   * Signs an agent's own key as `fleetgraph://agent/<agentId>`. Of the request only the key is used, after proof that the sender has it.
   * Throws INVALID_ARGUMENT (field `certificate_request` or `agentId`). `ttlSeconds`: a minute to a year.
   */
  async signAgent(requestDer: Uint8Array, agentId: string, ttlSeconds: number): Promise<SignedCertificate> {
    if (!Number.isInteger(ttlSeconds) || ttlSeconds < MIN_TTL_SECONDS || ttlSeconds > MAX_TTL_SECONDS) {
      throw invalidArgument("ttlSeconds", `A certificate lives from ${MIN_TTL_SECONDS} to ${MAX_TTL_SECONDS} whole seconds.`);
    }
    const uri = agentUri(agentId);
    const publicKey = await verifyCertificateRequest(requestDer);
    const usages = [x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth];
    return this.#sign({ publicKey, uri, hosts: [], usages, ttlMs: ttlSeconds * 1000 });
  }

  async #issue(uri: string, hosts: string[], usages: x509.ExtendedKeyUsage[]): Promise<KeyPair> {
    const keys = await generateKeys();
    const { certificatePem } = await this.#sign({ publicKey: keys.publicKey, uri, hosts, usages, ttlMs: OWN_DAYS * DAY_MS });
    return { certificatePem, keyPem: await privateKeyPem(keys.privateKey) };
  }

  async #sign(leaf: {
    publicKey: webcrypto.CryptoKey;
    uri: string;
    hosts: string[];
    usages: x509.ExtendedKeyUsage[];
    ttlMs: number;
  }): Promise<SignedCertificate> {
    const now = Date.now();
    const caEnd = this.#certificate.notAfter.getTime();
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: `CN=${parseCertificateUri(leaf.uri)?.kind ?? "fleetgraph"}`,
      issuer: this.#certificate.subject,
      notBefore: new Date(now - Math.min(BACKDATED_MS, leaf.ttlMs)),
      notAfter: new Date(Math.min(now + leaf.ttlMs, caEnd)),
      publicKey: leaf.publicKey,
      signingKey: this.#key,
      signingAlgorithm: SIGNING_ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(leaf.usages),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: leaf.uri }, ...leaf.hosts.map(hostName)]),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
      ],
    });
    const certificateDer = Buffer.from(certificate.rawData);
    return { certificateDer, certificatePem: `${certificate.toString("pem")}\n`, notAfter: certificate.notAfter };
  }
}

/** A CA by its certificate alone (PEM), for parts that check signatures and sign nothing. Throws FAILED_PRECONDITION if it is not a CA's. */
export function readOnlyCa(certificatePem: string): TrustedCa {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(certificatePem);
  } catch (cause) {
    throw new FleetError("FAILED_PRECONDITION", "The CA certificate cannot be read.", { cause });
  }
  if (!certificate.ca) throw new FleetError("FAILED_PRECONDITION", "The certificate is not one of a CA.");
  return {
    certificateDer: certificate.raw,
    certificatePem: certificate.toString(),
    fingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
  };
}

async function makeCa(): Promise<KeyPair> {
  const keys = await generateKeys();
  const now = Date.now();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: CA_SUBJECT,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + CA_DAYS * DAY_MS),
    keys,
    signingAlgorithm: SIGNING_ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: `${certificate.toString("pem")}\n`, keyPem: await privateKeyPem(keys.privateKey) };
}

function hostName(host: string): { type: "ip" | "dns"; value: string } {
  return { type: isIP(host) === 0 ? "dns" : "ip", value: host };
}

/** 127 random bits, positive. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
