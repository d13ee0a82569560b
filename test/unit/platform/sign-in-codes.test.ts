import { describe, expect, it } from "vitest";
import { SignInCodes } from "../../../platform/auth/sign-in-codes.ts";

const issuer = { issue: async (o: { subject: string; role: string; ttlSeconds: number }) => `${o.subject}/${o.role}/${o.ttlSeconds}` };

describe("sign-in codes", () => {
  it("are exchanged for a short token once", async () => {
    const codes = new SignInCodes({ issuer, now: () => 0 });
    const code = codes.create({ subject: "owner", role: "admin" });
    await expect(codes.exchange(code)).resolves.toEqual({ token: "owner/admin/3600", expiresAt: 3_600_000 });
    await expect(codes.exchange(code)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "InvalidCode" });
  });

  it("end after ten minutes", async () => {
    let now = 0;
    const codes = new SignInCodes({ issuer, now: () => now });
    const [early, late] = [codes.create({ subject: "a", role: "viewer" }), codes.create({ subject: "b", role: "viewer" })];
    now = 599_999;
    await expect(codes.exchange(early)).resolves.toMatchObject({ token: "a/viewer/3600" });
    now = 600_000;
    await expect(codes.exchange(late)).rejects.toMatchObject({ reason: "InvalidCode" });
  });

  it("are never more than a hundred: the oldest goes", async () => {
    const codes = new SignInCodes({ issuer });
    const all = Array.from({ length: 101 }, () => codes.create({ subject: "a", role: "viewer" }));
    await expect(codes.exchange(String(all[0]))).rejects.toMatchObject({ reason: "InvalidCode" });
    await expect(codes.exchange(String(all[1]))).resolves.toMatchObject({ token: "a/viewer/3600" });
  });
});
