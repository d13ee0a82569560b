import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from "jose";
import { LRUCache } from "lru-cache";
import { FleetError } from "../errors/fleet-error.ts";
import { type Identity, ROLES, type Role } from "./identity.ts";

/** Tells who a token stands for. */
export interface TokenVerifier {
  /**
   * Throws UNAUTHENTICATED (`reason` InvalidToken: malformed, forged, meant for someone else; NoRole: it names no role of ours),
   * TOKEN_EXPIRED, or UNAVAILABLE where the keys of the issuer cannot be fetched.
   */
  verify(token: string): Promise<Identity>;
}

export interface KeySetVerifierOptions {
  /** The keys themselves, or where they are fetched from (https, or http on this machine). */
  jwks: JSONWebKeySet | URL;
  /** The token's `iss`. */
  issuer: string;
  /** What the token's `aud` must hold. */
  audience: string;
  /** The claim with a role or a list of roles: its name, or a path with dots (`realm_access.roles`). The strongest role counts. */
  roleClaim?: string;
  /** How far the issuer's clock may be off, in seconds. */
  clockToleranceSeconds?: number;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

export interface OidcVerifierOptions extends Omit<KeySetVerifierOptions, "jwks"> {
  /** Else it is read from the issuer's discovery document. */
  jwksUri?: string;
}

/** Asymmetric ones only: `none` and the shared-secret family are how tokens are forged. */
const ALGORITHMS = ["EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
const FETCH_TIMEOUT_MS = 5000;
const MAX_TOKEN_LENGTH = 16_384;
const MAX_CACHED_TOKENS = 10_000;
/** So that a withdrawn signing key takes effect. */
const MAX_CACHE_AGE_MS = 5 * 60_000;

/** The token in an `authorization` header: null without one, or where the header is of another scheme. */
export function bearerToken(header: string | string[] | null | undefined): string | null {
  if (typeof header !== "string") return null;
  return /^Bearer +([\w.~+/=-]+) *$/i.exec(header)?.[1] ?? null;
}

/** A verifier for the tokens of one issuer by its keys. What was verified once is remembered for a while, never beyond its `exp`. */
export function createKeySetVerifier(options: KeySetVerifierOptions): TokenVerifier {
  const { jwks, now = Date.now, roleClaim = "role" } = options;
  const keys: JWTVerifyGetKey = jwks instanceof URL ? remoteKeys(jwks) : createLocalJWKSet(jwks);
  const verified = new LRUCache<string, Identity & { kind: "user" }>({ max: MAX_CACHED_TOKENS });
  return {
    async verify(token) {
      const known = verified.get(token);
      if (known !== undefined && known.expiresAt > now()) return known;
      verified.delete(token);
      const identity = identityFrom(await verifiedClaims(token, keys, options, now()), roleClaim);
      verified.set(token, identity, { ttl: MAX_CACHE_AGE_MS });
      return identity;
    },
  };
}

/** A verifier for the tokens of an OpenID Connect issuer. Its keys are fetched when first needed, and again when they change. */
export function createOidcVerifier({ jwksUri, clockToleranceSeconds = 5, ...options }: OidcVerifierOptions): TokenVerifier {
  const build = (uri: string) => createKeySetVerifier({ ...options, clockToleranceSeconds, jwks: trustedUrl(uri) });
  if (jwksUri !== undefined) return build(jwksUri);
  let verifier: Promise<TokenVerifier> | null = null;
  return {
    async verify(token) {
      verifier ??= discoverKeysUri(options.issuer).then(build);
      const discovery = verifier;
      return (
        await discovery.catch((error: unknown) => {
          if (verifier === discovery) verifier = null;
          throw unreachable(error);
        })
      ).verify(token);
    },
  };
}

async function verifiedClaims(token: string, keys: JWTVerifyGetKey, options: KeySetVerifierOptions, nowMs: number): Promise<JWTPayload> {
  if (token.length > MAX_TOKEN_LENGTH) throw invalidToken("it is too long");
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ALGORITHMS,
      issuer: options.issuer,
      audience: options.audience,
      requiredClaims: ["exp", "sub"],
      clockTolerance: options.clockToleranceSeconds ?? 0,
      currentDate: new Date(nowMs),
    });
    return payload;
  } catch (error) {
    if (error instanceof errors.JWTExpired) throw new FleetError("TOKEN_EXPIRED", "The token has expired: get a new one.");
    if (error instanceof errors.JWTClaimValidationFailed)
      throw invalidToken(`its claim ${JSON.stringify(error.claim)} does not fit`, error);
    if (isRefusal(error)) throw invalidToken("its signature or form is wrong", error);
    throw unreachable(error);
  }
}

/** True for a fault of the token, false for one of the issuer's keys. */
function isRefusal(error: unknown): boolean {
  return (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys
  );
}

function identityFrom(claims: JWTPayload, roleClaim: string): Identity & { kind: "user" } {
  const role = strongestRole(claimAt(claims, roleClaim));
  if (role === null) {
    const hint = `its claim ${JSON.stringify(roleClaim)} must hold one of ${ROLES.join(", ")}`;
    throw new FleetError("UNAUTHENTICATED", `The token names no role: ${hint}.`, { reason: "NoRole", details: { roleClaim } });
  }
  if (typeof claims.sub !== "string" || claims.sub === "" || typeof claims.exp !== "number") throw invalidToken("it names no subject");
  return { kind: "user", subject: claims.sub, role, expiresAt: claims.exp * 1000 };
}

/** The claim of that very name (names may be URLs, with dots), else along the dots. */
function claimAt(claims: JWTPayload, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const key of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function strongestRole(claim: unknown): Role | null {
  const named = Array.isArray(claim) ? claim : [claim];
  return ROLES.findLast((role) => named.includes(role)) ?? null;
}

function remoteKeys(url: URL): JWTVerifyGetKey {
  return createRemoteJWKSet(url, {
    timeoutDuration: FETCH_TIMEOUT_MS,
    [customFetch]: (target, init) => fetch(target, init).catch((error: unknown) => Promise.reject(unreachable(error))),
  });
}

async function discoverKeysUri(issuer: string): Promise<string> {
  const url = trustedUrl(`${issuer.replace(/\/+$/, "")}/.well-known/openid-configuration`);
  const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), redirect: "error" });
  const document = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
  if (document.issuer !== issuer)
    throw new Error(`The discovery document names the issuer ${JSON.stringify(document.issuer)}, not ${issuer}.`);
  if (typeof document.jwks_uri !== "string") throw new Error("The discovery document names no jwks_uri.");
  return document.jwks_uri;
}

/** Keys that came over a plain connection could be anyone's. */
function trustedUrl(text: string): URL {
  const url = new URL(text);
  const loopback = ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname);
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback))
    throw new Error(`Keys are fetched over https only, not from ${text}.`);
  return url;
}

function invalidToken(why: string, cause?: unknown): FleetError {
  return new FleetError("UNAUTHENTICATED", `The token is not valid: ${why}.`, { reason: "InvalidToken", cause });
}

function unreachable(cause: unknown): FleetError {
  if (cause instanceof FleetError) return cause;
  return new FleetError("UNAVAILABLE", "The token cannot be checked: the issuer's keys are not available.", {
    reason: "IssuerUnavailable",
    cause,
  });
}
