import { stat } from "node:fs/promises";
import { FleetError, notFound } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { type CreatePoolRequest, PoolKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { StoragePoolReference } from "../../../libvirt/protocol/structures.ts";
import { invalid, precondition } from "../../shared/refusals.ts";
import { Slots } from "../../shared/slots.ts";
import { attempt, driverError, orNull } from "../driver-errors.ts";
import { storageError } from "../storage/storage-errors.ts";
import { checkPoolName, shown } from "./names.ts";
import { OpenPool } from "./open-pool.ts";
import { checkApart, networkSource, type PoolPathRules, poolPath } from "./pool-paths.ts";
import { type NewPool, newPoolXml, type PoolDescription, readPoolDescription } from "./pool-xml.ts";

export interface PoolsOptions {
  client: LibvirtClient;
  log: Logger;
  paths: PoolPathRules;
  /** Of the agent's own pools. */
  systemDirectories: readonly string[];
}

/** A pool of the host, whoever made it. */
export interface HostPool extends PoolDescription {
  reference: StoragePoolReference;
  active: boolean;
}

const MAX_POOLS = 64;
/** A server that does not answer is waited for. */
const START_MS = 90_000;

/** The host's storage pools: all of them to look at, and those that were made here to work with. */
export class Pools {
  readonly #options: PoolsOptions;
  readonly #client: LibvirtClient;
  readonly #open = new Map<string, OpenPool>();
  /** Pools come and go one at a time: none may overlap with another. */
  readonly #turn = new Slots(1);
  /** Why those that do not run do not, by name. */
  readonly #problems = new Map<string, string>();

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  problemOf(name: string): string {
    return this.#problems.get(name) ?? "";
  }

  isSystem({ path }: PoolDescription): boolean {
    return this.#options.systemDirectories.includes(path);
  }

  async all(signal: AbortSignal): Promise<HostPool[]> {
    const { pools } = await attempt("list storage pools", () => this.#client.call("connectListAllStoragePools", {}, { signal }));
    const described = await Promise.all(pools.map((reference) => this.#describe(reference, signal)));
    return described.filter((pool) => pool !== null).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Whoever made it, running or not. Null: there is none. */
  async find(name: string, signal: AbortSignal): Promise<HostPool | null> {
    const lookUp = this.#client.call("storagePoolLookupByName", { name }, { signal });
    const found = await attempt("look for a storage pool", () => orNull(lookUp, "NO_STORAGE_POOL"));
    return found === null ? null : await this.#describe(found.pool, signal);
  }

  /** One of ours, running. NOT_FOUND; FAILED_PRECONDITION PoolNotManaged, PoolInactive (with libvirt's reason). */
  async use(name: string, signal: AbortSignal): Promise<OpenPool> {
    const found = await this.find(name, signal);
    if (found === null) throw notFound("StoragePool", name);
    if (!found.managed) {
      throw precondition("PoolNotManaged", `The pool ${shown(name)} was not made by Fleetgraph: its volumes are only shown.`);
    }
    if (!found.active) await this.#start(found, signal);
    return this.opened(found);
  }

  /** One of ours, as it is. */
  opened({ name, path }: Pick<HostPool, "name" | "path">): OpenPool {
    let pool = this.#open.get(name);
    if (pool === undefined || pool.directory !== path) {
      const { log } = this.#options;
      const open = async () => {
        const again = await this.find(name, AbortSignal.timeout(START_MS));
        if (!again?.managed) throw notFound("StoragePool", name);
        if (!again.active) await this.#start(again, AbortSignal.timeout(START_MS));
        return again.reference;
      };
      pool = new OpenPool({ client: this.#client, log, name, directory: path, open });
      this.#open.set(name, pool);
    }
    return pool;
  }

  /** Does nothing where it is there as asked for. */
  async create(request: CreatePoolRequest, signal: AbortSignal): Promise<HostPool> {
    const { name, kind, path } = request;
    checkPoolName(name);
    if (kind !== PoolKind.DIR && kind !== PoolKind.NETFS) {
      throw invalid("PoolKindUnsupported", "kind", "Pools of the kinds DIR and NETFS can be made.");
    }
    const source = kind === PoolKind.NETFS ? networkSource(request.source) : null;
    if (kind === PoolKind.DIR && request.source !== "") {
      throw invalid("PoolSourceInvalid", "source", "A pool of the kind DIR has no source.");
    }
    const directory = await poolPath(name, path, this.#options.paths);
    return await this.#alone(() => this.#make({ name, kind, path: directory, source }, signal), signal);
  }

  /** Stops and forgets it; `prepare` first makes sure that it may. Its directory stays. Does nothing where it is gone. */
  async remove(name: string, prepare: (pool: HostPool) => Promise<void>, signal: AbortSignal): Promise<void> {
    await this.#alone(async () => {
      const found = await this.find(name, signal);
      if (found === null) return;
      if (!found.managed) {
        const whose = this.isSystem(found) ? "is the agent's own" : "was not made by Fleetgraph";
        throw precondition("PoolNotManaged", `The pool ${shown(name)} ${whose}: it is not removed.`);
      }
      await this.opened(found).close(async () => {
        await prepare(found);
        await this.#forget(found, signal);
      });
      this.#open.delete(name);
      this.#problems.delete(name);
    }, signal);
  }

  /** Starts those of ours that do not run. Never throws: why one does not start is told with it. */
  async startAll(signal: AbortSignal): Promise<void> {
    const pools = await this.all(signal);
    for (const pool of pools) {
      if (pool.managed && !pool.active) await this.#start(pool, signal).catch(() => undefined);
    }
  }

  /** Starts one of ours that does not run, where that can be done. */
  async started(pool: HostPool, signal: AbortSignal): Promise<boolean> {
    if (pool.active) return true;
    return await this.#start(pool, signal).then(
      () => true,
      () => false,
    );
  }

  async #make(pool: NewPool, signal: AbortSignal): Promise<HostPool> {
    const all = await this.all(signal);
    const there = all.find(({ name }) => name === pool.name);
    if (there !== undefined) return await this.#sameAs(pool, there, signal);
    const others = [...all, ...this.#options.systemDirectories.map((path) => ({ name: "of the agent itself", path }))];
    checkApart(pool.path, others);
    if (all.filter(({ managed }) => managed).length >= MAX_POOLS) {
      throw new FleetError("RESOURCE_EXHAUSTED", `A host has at most ${MAX_POOLS} pools that were made by Fleetgraph.`, {
        reason: "TooManyPools",
      });
    }
    const wasThere = (await stat(pool.path).catch(() => null)) !== null;
    const define = () => this.#client.call("storagePoolDefineXml", { xml: newPoolXml(pool) }, { signal });
    const reference = (await attempt("define the pool", define)).pool;
    const made = { reference, active: false, ...(await this.#describeOrThrow(reference, signal)) };
    try {
      await this.#start(made, signal);
    } catch (error) {
      // Where nobody knows how it went on, the pool stays, and the call is repeated or the pool deleted.
      if (FleetError.from(error).code === "FAILED_PRECONDITION") await this.#undo(made, wasThere);
      throw error;
    }
    this.#options.log.info({ pool: pool.name, path: pool.path }, "made the storage pool");
    return { ...made, active: true };
  }

  async #sameAs(pool: NewPool, there: HostPool, signal: AbortSignal): Promise<HostPool> {
    const source = pool.source === null ? "" : `${pool.source.server}:${pool.source.export}`;
    const isSame = there.managed && there.kind === pool.kind && there.path === pool.path && there.source === source;
    if (!isSame) {
      const message = `There is a pool ${shown(pool.name)} on the host already, of type ${there.nativeKind} at ${there.path}.`;
      throw new FleetError("ALREADY_EXISTS", message, { reason: "NameTaken", details: { path: there.path, source: there.source } });
    }
    if (!there.active) await this.#start(there, signal);
    return { ...there, active: true };
  }

  /** FAILED_PRECONDITION PoolInactive with what libvirt says. */
  async #start({ reference: pool, name }: HostPool, signal: AbortSignal): Promise<void> {
    const options = { signal, timeoutMs: START_MS };
    try {
      // Makes the directory where it is missing; leaves one that is there alone.
      await this.#client.call("storagePoolBuild", { pool }, options);
      await this.#client.call("storagePoolCreate", { pool }, options);
      this.#problems.delete(name);
      this.#options.log.info({ pool: name }, "started the storage pool");
    } catch (error) {
      const state = await this.#client.call("storagePoolIsActive", { pool }).catch(() => ({ active: false }));
      // Somebody else was faster.
      if (state.active) return;
      const refused = storageError(error, `start the pool ${name}`);
      if (refused.code !== "FAILED_PRECONDITION") throw refused;
      this.#problems.set(name, refused.message);
      throw precondition("PoolInactive", refused.message, { pool: name });
    }
  }

  async #forget({ reference: pool, name }: HostPool, signal: AbortSignal): Promise<void> {
    const gone = async (call: Promise<unknown>) => await orNull(call, "NO_STORAGE_POOL");
    try {
      const state = await orNull(this.#client.call("storagePoolIsActive", { pool }, { signal }), "NO_STORAGE_POOL");
      if (state?.active) await gone(this.#client.call("storagePoolDestroy", { pool }, { signal }));
      await gone(this.#client.call("storagePoolUndefine", { pool }, { signal }));
    } catch (error) {
      throw driverError(error, `remove the pool ${name}`);
    }
  }

  /** Not by the caller's signal. Never throws: a pool that stays is shown with its problem. */
  async #undo(pool: HostPool, directoryWasThere: boolean): Promise<void> {
    const signal = AbortSignal.timeout(START_MS);
    try {
      // Takes away an empty directory and nothing else.
      if (!directoryWasThere) await this.#client.call("storagePoolDelete", { pool: pool.reference }, { signal }).catch(() => undefined);
      await this.#forget(pool, signal);
      this.#problems.delete(pool.name);
    } catch (error) {
      this.#options.log.warn({ err: error, pool: pool.name }, "a pool that could not be started is left behind");
    }
  }

  /** Null where it has gone meanwhile. */
  async #describe(reference: StoragePoolReference, signal: AbortSignal): Promise<HostPool | null> {
    const look = async () => {
      const description = await this.#describeOrThrow(reference, signal);
      const { active } = await this.#client.call("storagePoolIsActive", { pool: reference }, { signal });
      return { ...description, reference, active };
    };
    return await attempt("read a storage pool", () => orNull(look(), "NO_STORAGE_POOL"));
  }

  async #describeOrThrow(pool: StoragePoolReference, signal: AbortSignal): Promise<PoolDescription> {
    return readPoolDescription((await this.#client.call("storagePoolGetXmlDesc", { pool }, { signal })).xml);
  }

  async #alone<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.#turn.use(work, signal, () => undefined);
  }
}
