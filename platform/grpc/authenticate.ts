import type { Metadata } from "nice-grpc";
import type { Identity } from "../auth/identity.ts";
import { bearerToken, type TokenVerifier } from "../auth/jwt.ts";
import { FleetError } from "../errors/fleet-error.ts";
import type { TrustedCa } from "../tls/certificate-authority.ts";
import { identityFromCertificate } from "../tls/peer.ts";

/** What a client sent along, by lower-case name. */
export type CallMetadata = Pick<Metadata, "get">;

/**
 * Who calls, from what came with the call: null without credentials, a throw (UNAUTHENTICATED, TOKEN_EXPIRED) for bad ones.
 * `peerCertificate` is DER, and the peer has proved that it holds the key.
 */
export type Authenticate = (metadata: CallMetadata, peerCertificate: Uint8Array | null) => Promise<Identity | null> | Identity | null;

/** For the users' port: `authorization: Bearer …`. */
export function authenticateByToken(verifier: TokenVerifier): Authenticate {
  return (metadata) => {
    const header = metadata.get("authorization");
    if (header === undefined) return null;
    const token = bearerToken(header);
    if (token === null) {
      throw new FleetError("UNAUTHENTICATED", "The authorization header is not `Bearer <token>`.", { reason: "InvalidToken" });
    }
    return verifier.verify(token);
  };
}

/**
 * For ports with mTLS: the peer's certificate. Of `kinds` only: an agent obeys nobody but the control plane.
 * Throws UNAUTHENTICATED for a certificate that is not valid here, so that it is never mistaken for none.
 */
export function authenticateByCertificate(ca: TrustedCa, kinds: ReadonlyArray<"agent" | "control"> = ["agent", "control"]): Authenticate {
  return (_metadata, peerCertificate) => {
    if (peerCertificate === null) return null;
    const identity = identityFromCertificate(peerCertificate, ca);
    if (identity === null) {
      throw new FleetError("UNAUTHENTICATED", "The certificate is not valid here.", { reason: "InvalidCertificate" });
    }
    if (!kinds.includes(identity.kind)) {
      throw new FleetError("FORBIDDEN", `A certificate of this kind (${identity.kind}) has no business here.`, {
        reason: "WrongCertificateKind",
      });
    }
    return identity;
  };
}
