import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bearerToken, createKeySetVerifier } from "../../../platform/auth/jwt.ts";
import { LocalIssuer } from "../../../platform/auth/local-issuer.ts";

let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), "fleetgraph-jwt-")), "keys");
});
afterEach(async () => {
  await rm(join(dir, ".."), { recursive: true, force: true });
});

describe("local issuer", () => {
  it("makes tokens that its verifier turns back into who they stand for", async () => {
    const issuer = await LocalIssuer.open(dir);
    const token = await issuer.issue({ subject: "ada", role: "operator", ttlSeconds: 60 });
    const identity = await issuer.verifier().verify(token);
    expect(identity).toMatchObject({ kind: "user", subject: "ada", role: "operator" });
    expect(identity.kind === "user" && identity.expiresAt).toBe((decodeJwt(token).exp ?? 0) * 1000);
    expect(decodeProtectedHeader(token)).toMatchObject({ alg: "EdDSA" });
  });

  it("keeps its key in a file that only its owner reads, in a directory of the same kind", async () => {
    await LocalIssuer.open(dir);
    expect((await stat(join(dir, "token-key.pem"))).mode & 0o777).toBe(0o600);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
  });

  it("keeps the key across restarts, also where two processes start at once", async () => {
    const [first, second] = await Promise.all([LocalIssuer.open(dir), LocalIssuer.open(dir)]);
    const later = await LocalIssuer.open(dir);
    const token = await first.issue({ subject: "ada", role: "viewer", ttlSeconds: 60 });
    await expect(second.verifier().verify(token)).resolves.toMatchObject({ subject: "ada" });
    await expect(later.verifier().verify(token)).resolves.toMatchObject({ subject: "ada" });
  });

  it("refuses a key file that others can read", async () => {
    await LocalIssuer.open(dir);
    await chmod(join(dir, "token-key.pem"), 0o640);
    await expect(LocalIssuer.open(dir)).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("chmod 600"),
    });
  });

  it("publishes the public half of its key and nothing more", async () => {
    const issuer = await LocalIssuer.open(dir);
    const published = JSON.parse(await readFile(join(dir, "jwks.json"), "utf8"));
    expect(Object.keys(published.keys[0]).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
    const elsewhere = createKeySetVerifier({ jwks: published, issuer: "fleetgraph", audience: "fleetgraph" });
    const token = await issuer.issue({ subject: "ada", role: "admin", ttlSeconds: 60 });
    await expect(elsewhere.verify(token)).resolves.toMatchObject({ role: "admin" });
  });

  it("refuses to issue without a subject or for a life that makes no sense", async () => {
    const issuer = await LocalIssuer.open(dir);
    await expect(issuer.issue({ subject: "", role: "viewer", ttlSeconds: 60 })).rejects.toMatchObject({ details: { field: "subject" } });
    await expect(issuer.issue({ subject: "a", role: "viewer", ttlSeconds: 0 })).rejects.toMatchObject({ details: { field: "ttlSeconds" } });
    await expect(issuer.issue({ subject: "a", role: "viewer", ttlSeconds: 1.5 })).rejects.toMatchObject({
      details: { field: "ttlSeconds" },
    });
  });
});

describe("verification", () => {
  it("ends with TOKEN_EXPIRED once the time is over, also for a token that was verified before", async () => {
    let now = Date.now();
    const issuer = await LocalIssuer.open(dir, { now: () => now });
    const verifier = issuer.verifier();
    const token = await issuer.issue({ subject: "ada", role: "viewer", ttlSeconds: 10 });
    await expect(verifier.verify(token)).resolves.toMatchObject({ subject: "ada" });
    now += 9_000;
    await expect(verifier.verify(token)).resolves.toMatchObject({ subject: "ada" });
    now += 2_000;
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
    await expect(issuer.verifier().verify(token)).rejects.toMatchObject({ code: "TOKEN_EXPIRED" });
  });

  it("refuses a token whose text was changed", async () => {
    const issuer = await LocalIssuer.open(dir);
    const [header, , signature] = (await issuer.issue({ subject: "ada", role: "viewer", ttlSeconds: 60 })).split(".");
    const claims = { iss: "fleetgraph", aud: "fleetgraph", sub: "ada", role: "admin", exp: Math.floor(Date.now() / 1000) + 60 };
    const forged = `${header}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.${signature}`;
    await expect(issuer.verifier().verify(forged)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidToken" });
  });

  it("refuses the algorithm none and a key that was made from the public one", async () => {
    const issuer = await LocalIssuer.open(dir);
    const claims = { role: "admin" };
    const unsigned = new UnsecuredJWT(claims)
      .setIssuer("fleetgraph")
      .setAudience("fleetgraph")
      .setSubject("eve")
      .setExpirationTime("1h")
      .encode();
    await expect(issuer.verifier().verify(unsigned)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidToken" });
    const shared = await new SignJWT(claims)
      .setProtectedHeader({ alg: "HS256", kid: issuer.jwks.keys[0]?.kid })
      .setIssuer("fleetgraph")
      .setAudience("fleetgraph")
      .setSubject("eve")
      .setExpirationTime("1h")
      .sign(Buffer.from(String(issuer.jwks.keys[0]?.x), "base64url"));
    await expect(issuer.verifier().verify(shared)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidToken" });
  });

  it("refuses a token of another issuer's key, one for another audience, and one from elsewhere", async () => {
    const issuer = await LocalIssuer.open(dir);
    const other = await LocalIssuer.open(join(dir, "other"));
    const token = await other.issue({ subject: "ada", role: "viewer", ttlSeconds: 60 });
    await expect(issuer.verifier().verify(token)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidToken" });
    const audience = createKeySetVerifier({ jwks: other.jwks, issuer: "fleetgraph", audience: "billing" });
    await expect(audience.verify(token)).rejects.toMatchObject({ reason: "InvalidToken", message: expect.stringContaining('"aud"') });
    const elsewhere = createKeySetVerifier({ jwks: other.jwks, issuer: "https://id.example", audience: "fleetgraph" });
    await expect(elsewhere.verify(token)).rejects.toMatchObject({ reason: "InvalidToken", message: expect.stringContaining('"iss"') });
  });

  it.each(["", "x", "a.b.c", "é", `${"a".repeat(20_000)}`])("refuses what is no token at all: %.20s", async (text) => {
    const issuer = await LocalIssuer.open(dir);
    await expect(issuer.verifier().verify(text)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidToken" });
  });
});

describe("authorization header", () => {
  it("gives the bearer token, whatever the scheme's case", () => {
    expect(bearerToken("Bearer a.b-c_d")).toBe("a.b-c_d");
    expect(bearerToken("bearer   x ")).toBe("x");
  });

  it("gives null for none, another scheme, several headers or rubbish", () => {
    for (const header of [undefined, null, "", "Basic abc", "Bearer", "Bearer a b", ["Bearer a", "Bearer b"]])
      expect(bearerToken(header)).toBeNull();
  });
});
