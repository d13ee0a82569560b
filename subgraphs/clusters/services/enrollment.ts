import { webcrypto } from "node:crypto";
import { UniqueConstraintViolationException } from "@mikro-orm/core";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { CertificateAuthority, SignedCertificate } from "../../../platform/tls/certificate-authority.ts";
import { verifyCertificateRequest } from "../../../platform/tls/certificate-request.ts";
import { newId } from "../../kit/ids.ts";
import { checkText } from "../../kit/input-checks.ts";
import type { Store } from "../../kit/store/orm.ts";
import { Agent } from "../entities/agent.ts";
import { createJoinToken, findJoinRight, hashOf, type IssuedJoinToken } from "./join-tokens.ts";
import { nodeDeregistered } from "./node-rights.ts";
import { findBarred } from "./registration-roster.ts";

/** Of an agent's certificate. Agents renew in the last third. */
const CERTIFICATE_TTL_SECONDS = 30 * 86_400;

export interface Enrolled {
  agentId: string;
  certificate: SignedCertificate;
}

/** How hosts get and keep the certificate that is their identity. */
export class Enrollment {
  readonly #store: Store;
  readonly #authority: CertificateAuthority;

  constructor(store: Store, authority: CertificateAuthority) {
    this.#store = store;
    this.#authority = authority;
  }

  get caCertificateDer(): Buffer {
    return this.#authority.certificateDer;
  }

  createJoinToken(options: { ttlSeconds: number; uses: number }): Promise<IssuedJoinToken> {
    return createJoinToken(this.#store, options);
  }

  /**
   * Rights: a join token. One use is taken and the identity is recorded in one transaction; the certificate is signed before, and not handed
   * out when that fails. The same key with the same token gets its identity again, as long as the token is valid: the answer may have been lost.
   * Throws UNAUTHENTICATED (JoinTokenUnknown, JoinTokenExpired, JoinTokenUsed), INVALID_ARGUMENT (certificate_request).
   */
  async join(ctx: RequestContext, secret: string, requestDer: Uint8Array): Promise<Enrolled> {
    checkText("token", secret, 4096);
    const publicKeyHash = await hashOfPublicKey(requestDer);
    const right = await this.#store.read((em) => findJoinRight(em, secret, publicKeyHash, false));
    const agentId = right.agent?.id ?? newId("agent");
    const certificate = await this.#authority.signAgent(requestDer, agentId, CERTIFICATE_TTL_SECONDS);
    const attempt = () => this.#record(secret, publicKeyHash, agentId, certificate.notAfter);
    const recorded = await attempt().catch((error: unknown) => {
      // The same key, twice at once.
      if (error instanceof UniqueConstraintViolationException) return attempt();
      throw error;
    });
    if (recorded !== agentId) {
      return { agentId: recorded, certificate: await this.#authority.signAgent(requestDer, recorded, CERTIFICATE_TTL_SECONDS) };
    }
    ctx.log.info({ agentId, joinToken: right.token.id, again: right.agent !== null }, "an agent joined");
    return { agentId, certificate };
  }

  /**
   * Rights: the agent's own certificate; the new one carries the same id. Throws FAILED_PRECONDITION (reason NodeDeregistered) when every
   * node of the agent was deregistered.
   */
  async renew(ctx: RequestContext, requestDer: Uint8Array): Promise<Enrolled> {
    const { identity } = ctx;
    if (identity === null) throw new FleetError("UNAUTHENTICATED", "A certificate is renewed with the certificate itself.");
    if (identity.kind !== "agent") throw new FleetError("FORBIDDEN", "Only agents renew their certificates here.");
    const barred = await this.#store.read((em) => findBarred(em, [identity.agentId]));
    for (const nodeId of barred.values()) throw nodeDeregistered(nodeId);
    const certificate = await this.#authority.signAgent(requestDer, identity.agentId, CERTIFICATE_TTL_SECONDS);
    await this.#store.transaction(({ em }) =>
      em.nativeUpdate(Agent, { id: identity.agentId }, { certificateNotAfter: certificate.notAfter }),
    );
    ctx.log.info({ agentId: identity.agentId, notAfter: certificate.notAfter }, "an agent's certificate was renewed");
    return { agentId: identity.agentId, certificate };
  }

  /** Gives the id that the key has: `agentId`, or the one that another call recorded in between. */
  #record(secret: string, publicKeyHash: string, agentId: string, certificateNotAfter: Date): Promise<string> {
    return this.#store.transaction(async ({ em }) => {
      const { token, agent } = await findJoinRight(em, secret, publicKeyHash, true);
      if (agent) {
        agent.certificateNotAfter = certificateNotAfter;
        return agent.id;
      }
      token.usesLeft -= 1;
      em.persist(em.create(Agent, { id: agentId, joinTokenId: token.id, publicKeyHash, joinedAt: new Date(), certificateNotAfter }));
      return agentId;
    });
  }
}

/** Of the key that signed the request; its possession is checked. Throws INVALID_ARGUMENT (certificate_request). */
async function hashOfPublicKey(requestDer: Uint8Array): Promise<string> {
  const key = await verifyCertificateRequest(requestDer);
  return hashOf(new Uint8Array(await webcrypto.subtle.exportKey("spki", key)));
}
