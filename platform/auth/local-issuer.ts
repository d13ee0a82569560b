import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  exportPKCS8,
  generateKeyPair,
  importPKCS8,
  type JSONWebKeySet,
  type JWK,
  SignJWT,
} from "jose";
import { invalidArgument } from "../errors/fleet-error.ts";
import { createFileOnce, makePrivateDir, readPrivateFile, replaceFile } from "../tls/certificate-files.ts";
import type { Role } from "./identity.ts";
import { createKeySetVerifier, type TokenVerifier } from "./jwt.ts";

/** `iss` and `aud` of the tokens that Fleetgraph makes itself. */
export const LOCAL_ISSUER = "fleetgraph";
export const LOCAL_AUDIENCE = "fleetgraph";

const KEY_FILE = "token-key.pem";
/** The public half, for parts that verify in other processes. */
const KEY_SET_FILE = "jwks.json";
const ALGORITHM = "EdDSA";
const MAX_TTL_SECONDS = 10 * 365 * 86_400;

export interface IssueOptions {
  subject: string;
  role: Role;
  ttlSeconds: number;
}

/**
 * Makes and verifies tokens with a key of its own: an Ed25519 key that the first `open` makes, in a file that only its owner reads.
 * The public key is kept beside it as a JSON Web Key Set.
 */
export class LocalIssuer {
  readonly #key: CryptoKey;
  readonly #now: () => number;
  readonly jwks: JSONWebKeySet;
  readonly #keyId: string;

  private constructor(key: CryptoKey, publicKey: JWK & { kid: string }, now: () => number) {
    this.#key = key;
    this.#keyId = publicKey.kid;
    this.jwks = { keys: [publicKey] };
    this.#now = now;
  }

  /** Opens the key in `keyDir`, made where it is missing. Throws FAILED_PRECONDITION where others can read the key. */
  static async open(keyDir: string, options: { now?: () => number } = {}): Promise<LocalIssuer> {
    await makePrivateDir(keyDir);
    const key = await importPKCS8(await readOrMakeKey(join(keyDir, KEY_FILE)), ALGORITHM, { extractable: true });
    const { d: _private, ...publicJwk } = await exportJWK(key);
    const publicKey = { ...publicJwk, alg: ALGORITHM, use: "sig", kid: await calculateJwkThumbprint(publicJwk) };
    const issuer = new LocalIssuer(key, publicKey, options.now ?? Date.now);
    await replaceFile(join(keyDir, KEY_SET_FILE), `${JSON.stringify(issuer.jwks, null, 2)}\n`, 0o644);
    return issuer;
  }

  /** A signed token. Throws INVALID_ARGUMENT for an empty subject or a life that is not 1 s to 10 years. */
  async issue({ subject, role, ttlSeconds }: IssueOptions): Promise<string> {
    if (subject === "") throw invalidArgument("subject", "The subject must not be empty.");
    if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_TTL_SECONDS) {
      throw invalidArgument("ttlSeconds", `A token lives from 1 to ${MAX_TTL_SECONDS} whole seconds.`);
    }
    const issuedAt = Math.floor(this.#now() / 1000);
    return new SignJWT({ role })
      .setProtectedHeader({ alg: ALGORITHM, kid: this.#keyId, typ: "JWT" })
      .setIssuer(LOCAL_ISSUER)
      .setAudience(LOCAL_AUDIENCE)
      .setSubject(subject)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + ttlSeconds)
      .setJti(randomBytes(12).toString("base64url"))
      .sign(this.#key);
  }

  verifier(): TokenVerifier {
    return createKeySetVerifier({ jwks: this.jwks, issuer: LOCAL_ISSUER, audience: LOCAL_AUDIENCE, now: this.#now });
  }
}

/** Two processes may start at once: the first to write its key wins, and both read it. */
async function readOrMakeKey(file: string): Promise<string> {
  const known = await readPrivateFile(file);
  if (known !== null) return known;
  const { privateKey } = await generateKeyPair(ALGORITHM, { crv: "Ed25519", extractable: true });
  await createFileOnce(file, await exportPKCS8(privateKey));
  return (await readPrivateFile(file)) ?? readOrMakeKey(file);
}
