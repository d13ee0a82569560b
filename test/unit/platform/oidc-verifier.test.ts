import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createOidcVerifier } from "../../../platform/auth/jwt.ts";

let server: Server;
let issuer: string;
let key: CryptoKey;
let jwk: JWK;
let requests: string[];
let broken: boolean;

beforeEach(async () => {
  const pair = await generateKeyPair("ES256");
  key = pair.privateKey;
  jwk = { ...(await exportJWK(pair.publicKey)), kid: "k1", alg: "ES256", use: "sig" };
  requests = [];
  broken = false;
  server = createServer((request, response) => {
    requests.push(String(request.url));
    if (broken) return void response.writeHead(503).end();
    const body = request.url === "/keys" ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/keys` };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function token(claims: Record<string, unknown>, options: { audience?: string; expires?: string; kid?: string } = {}): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", kid: options.kid ?? "k1" })
    .setIssuer(issuer)
    .setAudience(options.audience ?? "fleet")
    .setSubject("ada")
    .setExpirationTime(options.expires ?? "10m")
    .sign(key);
}

describe("OIDC verifier", () => {
  it("finds the keys by discovery, fetches them once, and takes the strongest role of the claim", async () => {
    const verifier = createOidcVerifier({ issuer, audience: "fleet", roleClaim: "roles" });
    await expect(verifier.verify(await token({ roles: ["viewer", "admin", "other"] }))).resolves.toMatchObject({
      subject: "ada",
      role: "admin",
    });
    await expect(verifier.verify(await token({ roles: "operator" }))).resolves.toMatchObject({ role: "operator" });
    expect(requests).toEqual(["/.well-known/openid-configuration", "/keys"]);
  });

  it("reads a role along a path, and by a claim name that is a URL", async () => {
    const nested = createOidcVerifier({ issuer, audience: "fleet", roleClaim: "realm_access.roles", jwksUri: `${issuer}/keys` });
    await expect(nested.verify(await token({ realm_access: { roles: ["viewer"] } }))).resolves.toMatchObject({ role: "viewer" });
    const named = createOidcVerifier({ issuer, audience: "fleet", roleClaim: "https://fleet.example/role", jwksUri: `${issuer}/keys` });
    await expect(named.verify(await token({ "https://fleet.example/role": "operator" }))).resolves.toMatchObject({ role: "operator" });
  });

  it("refuses a token without a role, for another audience, of an unknown key, and an old one", async () => {
    const verifier = createOidcVerifier({ issuer, audience: "fleet", roleClaim: "role", jwksUri: `${issuer}/keys` });
    await expect(verifier.verify(await token({}))).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "NoRole" });
    await expect(verifier.verify(await token({ role: "root" }))).rejects.toMatchObject({ reason: "NoRole" });
    await expect(verifier.verify(await token({ role: "admin" }, { audience: "x" }))).rejects.toMatchObject({ reason: "InvalidToken" });
    await expect(verifier.verify(await token({ role: "admin" }, { kid: "k2" }))).rejects.toMatchObject({ reason: "InvalidToken" });
    await expect(verifier.verify(await token({ role: "admin" }, { expires: "-1m" }))).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
  });

  it("says UNAVAILABLE while the issuer cannot be reached, and works once it can", async () => {
    broken = true;
    const verifier = createOidcVerifier({ issuer, audience: "fleet" });
    await expect(verifier.verify(await token({ role: "viewer" }))).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "IssuerUnavailable",
    });
    broken = false;
    await expect(verifier.verify(await token({ role: "viewer" }))).resolves.toMatchObject({ role: "viewer" });
  });

  it("does not fetch keys over a plain connection from elsewhere", async () => {
    expect(() => createOidcVerifier({ issuer, audience: "fleet", jwksUri: "http://id.example/keys" })).toThrow(/https/);
  });
});
