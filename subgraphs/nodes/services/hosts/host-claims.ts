import { type FilterQuery, LockMode } from "@mikro-orm/core";
import { databaseNow } from "../../../kit/store/clock.ts";
import type { EntityManager, Store, Transaction } from "../../../kit/store/orm.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import { BRIDGED_HOST_STREAM, type BridgedHostNotice, hostClaimLost } from "./host-types.ts";

/** The right to work on a host's row, until its lease is over and another replica takes it. */
export interface HostClaim {
  id: string;
  claim: number;
}

const LEASE_MS = 15_000;
const RENEW_MS = 4_000;

/** Who may work on which host: leases by the database's clock, and a number with each claim that fences off whoever lost one. */
export class HostClaims {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  get store(): Store {
    return this.#store;
  }

  /** Milliseconds since 1970 by the database's clock, in the caller's transaction or read. */
  now(em: EntityManager): Promise<number> {
    return databaseNow(em, this.#store.dialect);
  }

  /** When a claim that is made now is over. */
  async leaseFromNow(em: EntityManager): Promise<number> {
    return (await this.now(em)) + LEASE_MS;
  }

  /** Takes a host that nobody has the claim on and that is as `where` says; null otherwise. */
  claim(id: string, where: FilterQuery<BridgedHost>): Promise<HostClaim | null> {
    return this.#store.transaction(async ({ em }) => {
      const free = { $and: [{ id }, where, { leaseUntil: { $lte: await this.now(em) } }] };
      const host = await em.findOne(BridgedHost, free, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (host === null) return null;
      host.claim += 1;
      host.leaseUntil = await this.leaseFromNow(em);
      return { id, claim: host.claim };
    });
  }

  /** Does the work while the claim is renewed. What it throws is thrown; the claim stays as the work left it. */
  async holding<T>({ id, claim }: HostClaim, work: () => Promise<T>): Promise<T> {
    const renew = () =>
      this.#store
        .transaction(async ({ em }) =>
          em.nativeUpdate(BridgedHost, { id, claim, leaseUntil: { $gt: 0 } }, { leaseUntil: await this.leaseFromNow(em) }),
        )
        // A claim that cannot be renewed is lost when its lease is over: the next write finds that out.
        .catch(() => undefined);
    const timer = setInterval(() => void renew(), RENEW_MS);
    try {
      return await work();
    } finally {
      clearInterval(timer);
    }
  }

  /**
   * Changes the host in one transaction, and wakes the agents that it is or was of. Throws CONFLICT (HostClaimLost) where another replica has it,
   * and what `change` throws.
   */
  async change(
    claim: HostClaim,
    change: (host: BridgedHost, tx: { em: EntityManager; now: number }) => Promise<void> | void,
  ): Promise<void> {
    await this.#locked(claim, async (host, em) => change(host, { em, now: await this.now(em) }));
  }

  /** Deletes the row, and wakes the agent that it was of. Throws CONFLICT (HostClaimLost). */
  async remove(claim: HostClaim): Promise<void> {
    await this.#locked(claim, async (host, em) => void em.remove(host));
  }

  /** Others may take it after `pauseMs`. What was lost already is no matter. */
  async release({ id, claim }: HostClaim, pauseMs = 0): Promise<void> {
    await this.#store.transaction(async ({ em }) =>
      em.nativeUpdate(BridgedHost, { id, claim }, { leaseUntil: pauseMs === 0 ? 0 : (await this.now(em)) + pauseMs }),
    );
  }

  /** The row as it is now, with its sealed credentials; null where it is gone. */
  read(id: string): Promise<BridgedHost | null> {
    return this.#store.read((em) => em.findOne(BridgedHost, { id }, { populate: ["sealedCredentials"] }));
  }

  /** Hosts in these states that nobody works on, oldest first. */
  async unclaimed(where: FilterQuery<BridgedHost>, limit: number): Promise<BridgedHost[]> {
    return this.#store.read(async (em) =>
      em.find(
        BridgedHost,
        { $and: [where, { leaseUntil: { $lte: await this.now(em) } }] },
        { orderBy: { createdAt: "asc", id: "asc" }, limit },
      ),
    );
  }

  async #locked({ id, claim }: HostClaim, work: (host: BridgedHost, em: EntityManager) => Promise<void>): Promise<void> {
    await this.#store.transaction(async ({ em, emit }) => {
      const host = await em.findOne(BridgedHost, { id, claim }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (host === null) throw hostClaimLost();
      const before = host.agentId;
      await work(host, em);
      notify(emit, id, [before, host.agentId]);
    });
  }
}

/** Wakes whoever tells these agents of their hosts, at every replica. */
function notify(emit: Transaction["emit"], id: string, agents: ReadonlyArray<string | null>): void {
  const object: BridgedHostNotice = { agentIds: [...new Set(agents.filter((agentId) => agentId !== null))] };
  if (object.agentIds.length > 0) emit(BRIDGED_HOST_STREAM, { type: "MODIFIED", objectId: id, object, previous: object });
}
