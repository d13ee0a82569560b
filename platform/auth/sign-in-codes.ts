import { createHash, randomBytes } from "node:crypto";
import { FleetError } from "../errors/fleet-error.ts";
import type { Role } from "./identity.ts";
import type { LocalIssuer } from "./local-issuer.ts";

/** What a browser gets for its code. */
export interface SignInToken {
  token: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

export interface SignInCodesOptions {
  issuer: Pick<LocalIssuer, "issue">;
  /** How long a code can be used. */
  codeTtlSeconds?: number;
  /** How long the token lives that it is exchanged for. */
  tokenTtlSeconds?: number;
  /** Milliseconds since the epoch. */
  now?: () => number;
}

interface PendingCode {
  subject: string;
  role: Role;
  expiresAt: number;
}

/** More than a person opens; the oldest goes first. */
const MAX_PENDING = 100;

/**
 * Single-use codes that stand in the fragment of a printed link, so that no token is ever in a URL, a shell's history or a server's log.
 * Kept in memory as digests: they end with the process.
 */
export class SignInCodes {
  readonly #issuer: Pick<LocalIssuer, "issue">;
  readonly #codeTtlMs: number;
  readonly #tokenTtlSeconds: number;
  readonly #now: () => number;
  readonly #pending = new Map<string, PendingCode>();

  constructor({ issuer, codeTtlSeconds = 600, tokenTtlSeconds = 3600, now = Date.now }: SignInCodesOptions) {
    this.#issuer = issuer;
    this.#codeTtlMs = codeTtlSeconds * 1000;
    this.#tokenTtlSeconds = tokenTtlSeconds;
    this.#now = now;
  }

  create({ subject, role }: { subject: string; role: Role }): string {
    const code = randomBytes(24).toString("base64url");
    this.#pending.set(digest(code), { subject, role, expiresAt: this.#now() + this.#codeTtlMs });
    for (const oldest of this.#pending.keys()) {
      if (this.#pending.size <= MAX_PENDING) break;
      this.#pending.delete(oldest);
    }
    return code;
  }

  /** Trades a code for a token, once. Throws UNAUTHENTICATED (`reason` InvalidCode) for one that is unknown, used or too old. */
  async exchange(code: string): Promise<SignInToken> {
    const key = digest(code);
    const found = this.#pending.get(key);
    this.#pending.delete(key);
    if (found === undefined || found.expiresAt <= this.#now()) {
      throw new FleetError("UNAUTHENTICATED", "This sign-in link was used already or is too old: `fleetgraph token` makes a token.", {
        reason: "InvalidCode",
      });
    }
    const token = await this.#issuer.issue({ subject: found.subject, role: found.role, ttlSeconds: this.#tokenTtlSeconds });
    return { token, expiresAt: this.#now() + this.#tokenTtlSeconds * 1000 };
  }
}

function digest(code: string): string {
  return createHash("sha256").update(code).digest("base64url");
}
