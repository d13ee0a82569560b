import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { newId } from "../../../kit/ids.ts";
import type { EntityManager } from "../../../kit/store/orm.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import type { HostClaim, HostClaims } from "./host-claims.ts";
import type { NewHost } from "./host-input.ts";
import type { HostSecrets } from "./host-secrets.ts";
import { hostnameTaken } from "./host-types.ts";

/** Additions that have not ended; beyond it none is taken. */
const MAX_UNDER_WAY = 100;
const MAX_HOSTS = 10_000;

export type BegunHost = { host: BridgedHost; claim: HostClaim | null };

export interface HostBeginning {
  claims: HostClaims;
  secrets: HostSecrets;
  /** Whether a node holds the hostname. */
  isTaken(hostname: string): boolean;
}

/**
 * Stores what is to be added, with the claim on it; or finds what the same request stored before, without. Throws ALREADY_EXISTS (HostnameTaken),
 * INVALID_ARGUMENT for a request id that was used for something else, RESOURCE_EXHAUSTED.
 */
export async function beginHost({ claims, secrets, isTaken }: HostBeginning, input: NewHost, addedBy: string): Promise<BegunHost> {
  const id = newId("host");
  const sealedCredentials = secrets.seal({ id, uri: input.uri.text }, input.credentials);
  return claims.store.transaction(async ({ em }) => {
    const before = await findBefore(em, input);
    if (before !== null) return { host: before, claim: null };
    if (isTaken(input.hostname)) throw hostnameTaken(input.hostname);
    if (
      (await em.count(BridgedHost, { state: { $in: ["PROBING", "REGISTERING"] } })) >= MAX_UNDER_WAY ||
      (await em.count(BridgedHost)) >= MAX_HOSTS
    ) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many hosts are being added, or were added.", {
        reason: "TooManyHosts",
        details: { underWay: MAX_UNDER_WAY, hosts: MAX_HOSTS },
      });
    }
    const { hostname, uri, kind, hostKeys, region, zone, labels, clientRequestId } = input;
    const row = {
      ...{ id, hostname, uri: uri.text, kind, hostKeys, clientRequestId, addedBy, sealedCredentials, state: "PROBING" as const },
      ...{ nodeId: null, agentId: null, generation: 0, hostUuid: null, bootId: null, settings: { region, zone, labels, probed: null } },
      ...{ claim: 1, leaseUntil: await claims.leaseFromNow(em), assignedAt: 0, createdAt: new Date() },
    };
    // Another transaction may store its own meanwhile: this waits for its end, and then finds it instead of failing at the commit.
    await em.createQueryBuilder(BridgedHost).insert(row).onConflict().ignore().execute();
    const host = await em.findOne(BridgedHost, { id }, { populate: ["sealedCredentials"] });
    if (host !== null) return { host, claim: { id, claim: 1 } };
    const other = await findBefore(em, input);
    if (other === null) throw new FleetError("CONFLICT", "Somebody adds the same host at the same time: try again.");
    return { host: other, claim: null };
  });
}

async function findBefore(em: EntityManager, { hostname, uri, clientRequestId }: NewHost): Promise<BridgedHost | null> {
  const repeated = clientRequestId === null ? null : await em.findOne(BridgedHost, { clientRequestId });
  if (repeated !== null) {
    if (repeated.hostname === hostname && repeated.uri === uri.text) return repeated;
    throw invalidArgument("clientRequestId", "This request id was used for another host.");
  }
  if ((await em.count(BridgedHost, { hostname })) > 0) throw hostnameTaken(hostname);
  return null;
}
