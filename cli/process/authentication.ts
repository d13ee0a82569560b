import { readFile } from "node:fs/promises";
import type { JSONWebKeySet } from "jose";
import { createKeySetVerifier, createOidcVerifier, type TokenVerifier } from "../../platform/auth/jwt.ts";
import { LOCAL_AUDIENCE, LOCAL_ISSUER, LocalIssuer } from "../../platform/auth/local-issuer.ts";
import type { Config } from "../../platform/config/settings.ts";
import { StartError } from "./start-error.ts";

export interface Authentication {
  verifier: TokenVerifier;
  /** Null where tokens come from elsewhere. */
  issuer: LocalIssuer | null;
}

/** Who is believed: an OIDC issuer, the keys that were named, or else the local issuer, whose key is made where it is missing. */
export async function openAuthentication(config: Config): Promise<Authentication> {
  const { "auth.issuer": issuer, "auth.jwks": jwks, "auth.audience": audience, "auth.roleClaim": roleClaim } = config;
  if (issuer !== null) return { verifier: createOidcVerifier({ issuer, audience, roleClaim, jwksUri: jwks ?? undefined }), issuer: null };
  if (jwks !== null) {
    const keys = URL.canParse(jwks) ? new URL(jwks) : await readKeySet(jwks);
    return { verifier: createKeySetVerifier({ jwks: keys, issuer: LOCAL_ISSUER, audience: LOCAL_AUDIENCE }), issuer: null };
  }
  const local = await LocalIssuer.open(config["auth.keyDir"]);
  return { verifier: local.verifier(), issuer: local };
}

async function readKeySet(file: string): Promise<JSONWebKeySet> {
  try {
    const parsed: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof parsed === "object" && parsed !== null && "keys" in parsed && Array.isArray(parsed.keys)) return parsed as JSONWebKeySet;
  } catch (error) {
    throw new StartError(`The key set ${file} (auth.jwks) cannot be read: ${(error as Error).message}.`, { cause: error });
  }
  throw new StartError(`The file ${file} (auth.jwks) is not a JSON Web Key Set.`);
}
