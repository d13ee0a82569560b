import { HeaderMap } from "@apollo/server";
import { GraphQLError } from "graphql";
import type { Identity } from "../../platform/auth/identity.ts";
import { bearerToken, type TokenVerifier } from "../../platform/auth/jwt.ts";
import { ERROR_TABLE } from "../../platform/errors/codes.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { faultToGraphQLError } from "../transport/faults.ts";

/** Who sends a request. */
export interface Caller {
  readonly identity: Identity;
  readonly token: string;
  /** Milliseconds since the epoch; infinite where the identity does not expire. */
  readonly expiresAt: number;
}

/** Throws UNAUTHENTICATED without a valid token, TOKEN_EXPIRED for one that is over, UNAVAILABLE where it cannot be checked. */
export async function authenticate(verifier: TokenVerifier, authorization: string | null | undefined): Promise<Caller> {
  const token = bearerToken(authorization);
  if (token === null) {
    throw new FleetError("UNAUTHENTICATED", "A token is needed: send `authorization: Bearer …` (`fleetgraph token` makes one).", {
      reason: authorization ? "InvalidToken" : "NoToken",
    });
  }
  const identity = await verifier.verify(token);
  return { identity, token, expiresAt: identity.kind === "user" ? identity.expiresAt : Number.POSITIVE_INFINITY };
}

/** A refusal as Apollo Server sends it, with the HTTP status of its code. */
export function refusalOverHttp(error: unknown): GraphQLError {
  const fault = FleetError.from(error);
  const { http: status } = ERROR_TABLE[fault.code];
  const headers = new HeaderMap(status === 401 ? [["www-authenticate", "Bearer"]] : []);
  const refusal = faultToGraphQLError(fault);
  return new GraphQLError(refusal.message, { extensions: { ...refusal.extensions, http: { status, headers } } });
}
