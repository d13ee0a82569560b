import type { Channel, TsProtoServiceDefinition } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import { type ChannelSettings, type ChannelTls, createGrpcChannel } from "./channel.ts";
import { type GrpcClient, type GrpcClientOptions, grpcClient } from "./client.ts";

export interface PoolTarget {
  /** `host:port`. */
  address: string;
  /** The URI SAN that the peer's certificate must have. */
  peerUri: string;
}

export interface ChannelPoolOptions {
  /** Own certificate and CA. Asked when a channel is opened, so that a renewed certificate is taken from then on. */
  credentials: () => Required<Pick<ChannelTls, "certificatePem" | "keyPem">> & { caPem: string };
  /** Connections at most; 5,000 by default. */
  maxChannels?: number;
  /** An unused connection is closed after this; a minute by default. */
  idleMs?: number;
  settings?: ChannelSettings;
}

/** A share of a channel. Release it when the call or stream is over, best by `using`. */
export interface ChannelLease extends Disposable {
  readonly channel: Channel;
  /** A client on the channel, made once per service. */
  client<Service extends TsProtoServiceDefinition>(definition: Service, options?: GrpcClientOptions): GrpcClient<Service>;
  release(): void;
}

interface Entry {
  channel: Channel;
  users: number;
  clients: Map<TsProtoServiceDefinition, unknown>;
  idleTimer: NodeJS.Timeout | undefined;
}

/** mTLS connections to many peers, one per address and peer, kept while they are used and a while longer. */
export class ChannelPool {
  readonly #options: ChannelPoolOptions;
  /** In order of use, so that the first idle one is the least recently used. */
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(options: ChannelPoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Throws RESOURCE_EXHAUSTED where all connections are in use, UNAVAILABLE after `close`, INVALID_ARGUMENT for a bad address. */
  lease({ address, peerUri }: PoolTarget): ChannelLease {
    if (this.#closed) throw new FleetError("UNAVAILABLE", "The connections are closed: the process is stopping.");
    const key = keyOf(address, peerUri);
    const entry = this.#entries.get(key) ?? this.#open(address, peerUri);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users += 1;
    clearTimeout(entry.idleTimer);
    return this.#leaseOf(key, entry);
  }

  /** Closes what is idle now and the rest when it is released: after a change of the own certificate or of the CA. */
  renew(): void {
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key);
      if (entry.users === 0) this.#close(entry);
    }
  }

  /** The next lease dials anew: after a failure, instead of waiting out the channel's own back-off. Calls that are open go on. */
  drop({ address, peerUri }: PoolTarget): void {
    const key = keyOf(address, peerUri);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    if (entry.users === 0) this.#close(entry);
  }

  /** Closes everything; calls that are open fail with UNAVAILABLE or CANCELLED. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) this.#close(entry);
    this.#entries.clear();
  }

  #open(address: string, peerUri: string): Entry {
    if (this.#entries.size >= (this.#options.maxChannels ?? 5000)) this.#evict();
    const { caPem, certificatePem, keyPem } = this.#options.credentials();
    const channel = createGrpcChannel(address, { caPem, certificatePem, keyPem, peerUri }, this.#options.settings);
    return { channel, users: 0, clients: new Map(), idleTimer: undefined };
  }

  #evict(): void {
    for (const [key, entry] of this.#entries) {
      if (entry.users > 0) continue;
      this.#entries.delete(key);
      this.#close(entry);
      return;
    }
    throw new FleetError("RESOURCE_EXHAUSTED", "Too many connections to agents are in use.", { reason: "ChannelPoolFull" });
  }

  #leaseOf(key: string, entry: Entry): ChannelLease {
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      entry.users -= 1;
      if (entry.users === 0) this.#idle(key, entry);
    };
    return {
      channel: entry.channel,
      client: (definition, options) => {
        // Options belong to one caller; only plain clients are shared.
        if (options !== undefined) return grpcClient(definition, entry.channel, options);
        let client = entry.clients.get(definition) as GrpcClient<typeof definition> | undefined;
        if (client === undefined) {
          client = grpcClient(definition, entry.channel);
          entry.clients.set(definition, client);
        }
        return client;
      },
      release,
      [Symbol.dispose]: release,
    };
  }

  #idle(key: string, entry: Entry): void {
    if (this.#entries.get(key) !== entry) {
      this.#close(entry);
      return;
    }
    entry.idleTimer = setTimeout(() => {
      this.#entries.delete(key);
      this.#close(entry);
    }, this.#options.idleMs ?? 60_000);
    entry.idleTimer.unref();
  }

  #close(entry: Entry): void {
    clearTimeout(entry.idleTimer);
    entry.channel.close();
  }
}

function keyOf(address: string, peerUri: string): string {
  return `${peerUri} ${address}`;
}
