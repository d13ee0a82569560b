import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { LockMode } from "@mikro-orm/core";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { newId } from "../../kit/ids.ts";
import type { EntityManager, Store } from "../../kit/store/orm.ts";
import { Agent } from "../entities/agent.ts";
import { JoinToken } from "../entities/join-token.ts";

export interface IssuedJoinToken {
  id: string;
  /** 256 random bits, base64url. Shown once: only its hash is stored. */
  secret: string;
  expiresAt: Date;
}

const MAX_TTL_SECONDS = 30 * 86_400;
const MAX_USES = 100_000;
/** Ended tokens are kept for a while, so that who comes late learns why. */
const KEPT_MS = 7 * 86_400_000;

/**
 * Makes a token for `uses` hosts, valid for `ttlSeconds` (1 s to 30 days). Works on the database alone, also while servers run on it.
 * Throws INVALID_ARGUMENT (fields ttlSeconds, uses).
 */
export async function createJoinToken(store: Store, { ttlSeconds, uses }: { ttlSeconds: number; uses: number }): Promise<IssuedJoinToken> {
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1 || ttlSeconds > MAX_TTL_SECONDS) {
    throw invalidArgument("ttlSeconds", `A join token is valid for 1 to ${MAX_TTL_SECONDS} seconds.`);
  }
  if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) throw invalidArgument("uses", `A join token has 1 to ${MAX_USES} uses.`);
  const secret = randomBytes(32).toString("base64url");
  const now = new Date();
  const token = { id: newId("join"), secretHash: hashOf(secret), usesLeft: uses, expiresAt: new Date(now.getTime() + ttlSeconds * 1000) };
  await store.transaction(async ({ em }) => {
    await em.nativeDelete(JoinToken, { expiresAt: { $lt: new Date(now.getTime() - KEPT_MS) } });
    em.persist(em.create(JoinToken, { ...token, createdAt: now }));
  });
  return { id: token.id, secret, expiresAt: token.expiresAt };
}

/** SHA-256, hexadecimal. */
export function hashOf(value: string | Uint8Array): string {
  return createHash("sha256").update(value).digest("hex");
}

/** What a key may do with a token: the agent id it got before, or null for one use of the token. */
export interface JoinRight {
  token: JoinToken;
  agent: Agent | null;
}

/**
 * Looks a secret up. Inside a transaction the token is locked, so that its last use is given to one.
 * Throws UNAUTHENTICATED with reason JoinTokenUnknown, JoinTokenExpired or JoinTokenUsed.
 */
export async function findJoinRight(em: EntityManager, secret: string, publicKeyHash: string, lock: boolean): Promise<JoinRight> {
  const secretHash = hashOf(secret);
  const token = await em.findOne(JoinToken, { secretHash }, lock ? { lockMode: LockMode.PESSIMISTIC_WRITE } : {});
  if (!token || !timingSafeEqual(Buffer.from(token.secretHash), Buffer.from(secretHash))) {
    throw refused("JoinTokenUnknown", "This join token is not known here.");
  }
  if (token.expiresAt.getTime() <= Date.now()) throw refused("JoinTokenExpired", "This join token has expired; an admin can make another.");
  const agent = await em.findOne(Agent, { joinTokenId: token.id, publicKeyHash });
  if (!agent && token.usesLeft < 1) throw refused("JoinTokenUsed", "This join token was used; an admin can make another.");
  return { token, agent };
}

function refused(reason: string, message: string): FleetError {
  return new FleetError("UNAUTHENTICATED", message, { reason });
}
