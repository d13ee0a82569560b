import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient, Unsubscribe } from "../../libvirt/client.ts";
import type { DomainReference } from "../../libvirt/protocol/structures.ts";
import type { DriverListener, NativeInstance } from "../instance-driver.ts";
import { Addresses } from "./addresses.ts";
import { type Domain, DomainIndex, isOwnGuest } from "./domain-index.ts";
import { DomainMemory } from "./domain-memory.ts";
import { conditionOf, isActive } from "./domain-state.ts";

export interface DomainFollowerOptions {
  client: LibvirtClient;
  log: Logger;
  /** On each connection and loss, at once. */
  onConnection(connected: boolean): void;
  /** After each connection, when the host's domains were read and listeners know of it. Must not throw. */
  prepare(signal: AbortSignal): Promise<void>;
}

const WARM_UP_MS = 120_000;

/** Keeps what is known of the host's domains in step with libvirt's events, and tells listeners. */
export class DomainFollower {
  readonly index: DomainIndex;
  readonly memory = new DomainMemory();
  readonly #options: DomainFollowerOptions;
  readonly #addresses: Addresses;
  readonly #listeners = new Set<DriverListener>();
  readonly #closing = new AbortController();
  readonly #undo: Unsubscribe[];
  #warmingUp: Promise<void> = Promise.resolve();
  #preparing: Promise<void> = Promise.resolve();
  #available = false;

  constructor(options: DomainFollowerOptions) {
    const { client, log } = options;
    this.#options = options;
    this.index = new DomainIndex(client, log);
    this.#addresses = new Addresses({
      client,
      log,
      interfacesOf: async (uuid, signal) => {
        const facts = this.index.known(uuid) ?? (await this.index.find({ nativeId: uuid }, signal))?.facts;
        return facts?.interfaces ?? [];
      },
      onChanged: (uuid) => this.#tellChanged(uuid),
    });
    this.#undo = this.#follow();
    if (client.connected) this.#onConnection(true);
  }

  get available(): boolean {
    return this.#available;
  }

  listen(listener: DriverListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Something that no event told. */
  noteChanged(uuid: string): void {
    this.index.drop(uuid);
    this.#tellChanged(uuid);
  }

  native({ dom, facts, state, reason, saved }: Domain): NativeInstance {
    const active = isActive(state);
    // It goes on where it was: for people it is not off.
    const condition = saved ? ({ state: "PAUSED", reason: "SAVED", message: "" } as const) : null;
    return {
      nativeId: dom.uuid,
      mark: facts.mark,
      name: facts.name,
      type: facts.type,
      ...(condition ?? this.memory.tell(dom.uuid, conditionOf(state, reason))),
      exitCode: null,
      startedAt: active ? (this.memory.startedAt(dom.uuid) ?? facts.startedAt) : null,
      cpuCores: facts.cpuCores,
      memoryBytes: facts.memoryBytes,
      ipAddresses: active ? this.#addresses.of(dom.uuid) : [],
    };
  }

  async close(): Promise<void> {
    for (const undo of this.#undo) undo();
    this.#closing.abort();
    this.#listeners.clear();
    await Promise.all([this.#addresses.close(), this.#warmingUp]);
    await this.#preparing;
  }

  #follow(): Unsubscribe[] {
    const { client } = this.#options;
    const changed = ({ dom }: { dom: DomainReference }) => {
      if (!isOwnGuest(dom)) this.#tellChanged(dom.uuid);
    };
    return [
      client.onConnectionChange((connected) => this.#onConnection(connected)),
      client.on("domainLifecycle", (payload) => {
        const { dom, event } = payload;
        if (isOwnGuest(dom)) return;
        this.memory.onLifecycle(payload);
        if (event === "DEFINED" || event === "UNDEFINED" || event === "STARTED") this.index.drop(dom.uuid);
        if (event === "STARTED") this.#addresses.watch(dom, true);
        if (event === "STOPPED") this.#addresses.forget(dom.uuid);
        changed(payload);
      }),
      client.on("domainIoErrorReason", (payload) => {
        this.memory.onIoError(payload);
        changed(payload);
      }),
      client.on("domainMetadataChange", (payload) => {
        this.index.drop(payload.dom.uuid);
        changed(payload);
      }),
      client.on("domainAgentLifecycle", ({ dom, state }) => this.#addresses.onAgent(dom.uuid, state === "CONNECTED")),
      client.on("domainDeviceAdded", ({ dom }) => {
        this.index.drop(dom.uuid);
        this.#addresses.lookAgain(dom.uuid);
      }),
      client.on("domainDeviceRemoved", ({ dom }) => this.index.drop(dom.uuid)),
      client.on("domainReboot", changed),
    ];
  }

  #onConnection(connected: boolean): void {
    this.index.clear();
    this.#options.onConnection(connected);
    if (connected) {
      this.#warmingUp = this.#warmingUp.then(() => this.#warmUp(AbortSignal.any([this.#closing.signal, AbortSignal.timeout(WARM_UP_MS)])));
    } else if (this.#available) {
      this.#available = false;
      for (const listener of this.#listeners) listener.onAvailable(false);
    }
  }

  /** Reads all domains, so that the first list is quick and reasons of those that are gone are forgotten. Never throws. */
  async #warmUp(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#options;
    try {
      this.#takeStock(await this.index.all(signal));
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error }, "the host's domains were not read");
    }
    if (!client.connected || signal.aborted) return;
    this.#available = true;
    for (const listener of this.#listeners) listener.onAvailable(true);
    // It may take long, and the next connection does not wait for it.
    this.#preparing = this.#preparing.then(() => this.#options.prepare(signal));
  }

  #takeStock(domains: readonly Domain[]): void {
    const running = domains.filter(({ state }) => isActive(state));
    this.memory.keep(new Set(domains.map(({ dom }) => dom.uuid)));
    this.#addresses.keep(new Set(running.map(({ dom }) => dom.uuid)));
    for (const { dom, facts } of running) {
      this.#addresses.watch(dom, false);
      if (facts.agentConnected) this.#addresses.onAgent(dom.uuid, true);
    }
  }

  #tellChanged(uuid: string): void {
    for (const listener of this.#listeners) listener.onChanged(uuid);
  }
}
