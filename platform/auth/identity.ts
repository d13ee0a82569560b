import { FleetError } from "../errors/fleet-error.ts";

/** Roles of users, weakest first: each may do what the ones before it may. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Who calls: a person or program with a token, an agent by its certificate, or a part of the control plane by its own. */
export type Identity =
  | {
      kind: "user";
      /** The token's subject. */
      subject: string;
      role: Role;
      /** Milliseconds since the epoch; the token's `exp`. */
      expiresAt: number;
    }
  | { kind: "agent"; agentId: string }
  | { kind: "control"; name: string };

/** True where the identity is a user of at least this role, or the control plane itself. */
export function hasRole(identity: Identity | null, role: Role): boolean {
  if (identity === null || identity.kind === "agent") return false;
  return identity.kind === "control" || ROLES.indexOf(identity.role) >= ROLES.indexOf(role);
}

/** Throws UNAUTHENTICATED without an identity, FORBIDDEN below the role. Services call this first. */
export function requireRole(identity: Identity | null, role: Role): asserts identity is Identity {
  if (identity === null) {
    throw new FleetError("UNAUTHENTICATED", "A token is needed: send `authorization: Bearer …` (`fleetgraph token` makes one).");
  }
  if (!hasRole(identity, role)) {
    throw new FleetError("FORBIDDEN", `This needs the role ${role}.`, { details: { requiredRole: role } });
  }
}

/** For records and messages that others may read. */
export function callerName(identity: Identity): string {
  if (identity.kind === "user") return identity.subject;
  return identity.kind === "agent" ? "the agent" : identity.name;
}
