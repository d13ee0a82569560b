// The X.509 library's container reads metadata, so this comes first.
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { FleetError, invalidArgument } from "../errors/fleet-error.ts";

export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
export const SIGNING_ALGORITHM = { name: "ECDSA", hash: "SHA-256" } as const;
/** What a P-256 request needs is under 500 bytes. */
const MAX_REQUEST_BYTES = 8192;
/** The field of JoinRequest and RenewRequest. */
const FIELD = "certificate_request";

/** A new key with a request that proves its possession. The names in the certificate are the CA's choice, not the request's. */
export async function createCertificateRequest(): Promise<{ keyPem: string; requestDer: Buffer }> {
  const keys = await generateKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=fleetgraph agent",
    keys,
    signingAlgorithm: SIGNING_ALGORITHM,
  });
  return { keyPem: await privateKeyPem(keys.privateKey), requestDer: Buffer.from(request.rawData) };
}

/**
 * The public key of a request, after its signature was checked: whoever sent it holds the private key.
 * Throws INVALID_ARGUMENT (field `certificate_request`) for anything but a well-signed PKCS #10 with a P-256 key.
 */
export async function verifyCertificateRequest(requestDer: Uint8Array): Promise<webcrypto.CryptoKey> {
  if (requestDer.byteLength === 0 || requestDer.byteLength > MAX_REQUEST_BYTES) {
    throw invalidArgument(FIELD, `A certificate request has 1 to ${MAX_REQUEST_BYTES} bytes.`);
  }
  let publicKey: webcrypto.CryptoKey;
  let signed: boolean;
  try {
    const request = new x509.Pkcs10CertificateRequest(new Uint8Array(requestDer));
    publicKey = (await request.publicKey.export(KEY_ALGORITHM, ["verify"])) as webcrypto.CryptoKey;
    signed = await request.verify();
  } catch (cause) {
    throw new FleetError("INVALID_ARGUMENT", "The certificate request is not a PKCS #10 request (DER) with a P-256 key.", {
      details: { field: FIELD },
      cause,
    });
  }
  if (!signed) throw invalidArgument(FIELD, "The certificate request is not signed by the key in it.");
  return publicKey;
}

/** A new P-256 key pair. */
export async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
}

/** PKCS #8. */
export async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  return `${x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`;
}

/** The reverse of `privateKeyPem`, for signing. */
export async function signingKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("pkcs8", x509.PemConverter.decodeFirst(keyPem), KEY_ALGORITHM, false, ["sign"]);
}
