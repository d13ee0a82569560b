import type { RequestContext } from "../../../platform/request-context.ts";
import type { SecretKeys } from "../../../platform/secrets/secret-keys.ts";
import type { CertificateAuthority } from "../../../platform/tls/certificate-authority.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import type { Store } from "../../kit/store/orm.ts";
import type { ClustersConfig } from "../config.ts";
import { CacheInvalidation } from "./cache-invalidation.ts";
import { Enrollment } from "./enrollment.ts";
import { Heartbeats } from "./heartbeats.ts";
import { KubernetesServices } from "./kubernetes/kubernetes-services.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { LeaseTable, type MonotonicClock } from "./lease-table.ts";
import { NodeCache } from "./node-cache.ts";
import { NodeChanges } from "./node-changes.ts";
import { NodeCommands } from "./node-commands.ts";
import { NodeQueries } from "./node-queries.ts";
import { NodeRegistration } from "./node-registration.ts";
import { NodeWriter } from "./node-writer.ts";

export interface ClustersServicesParts {
  store: Store;
  log: EventLog;
  authority: CertificateAuthority;
  /** Of what the database keeps sealed. Replicas have the same. */
  secrets: SecretKeys;
  config: ClustersConfig;
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  clock?: MonotonicClock;
}

/** All that the two faces call, wired together. */
export class ClustersServices {
  readonly config: ClustersConfig;
  readonly queries: NodeQueries;
  readonly registration: NodeRegistration;
  readonly changes: NodeChanges;
  readonly heartbeats: Heartbeats;
  readonly commands: NodeCommands;
  readonly enrollment: Enrollment;
  readonly leases: LeaseKeeper;
  readonly kubernetes: KubernetesServices;
  readonly #invalidation: CacheInvalidation;

  constructor({ store, log, authority, secrets, config, ctx, clock = () => performance.now() }: ClustersServicesParts) {
    const cache = new NodeCache(store);
    const leases = new LeaseTable(config.leaseTtlSeconds * 1000, clock);
    const writer = new NodeWriter(store, config.allocation, leases, cache);
    this.config = config;
    this.queries = new NodeQueries(writer, log, config);
    this.registration = new NodeRegistration(writer);
    this.changes = new NodeChanges(writer);
    this.commands = new NodeCommands(writer);
    this.heartbeats = new Heartbeats({ writer, cache, leases, commands: this.commands, config });
    this.enrollment = new Enrollment(store, authority);
    this.leases = new LeaseKeeper({ ctx, writer, leases, config, clock });
    this.kubernetes = new KubernetesServices({ store, log, secrets, ctx, config: config.kubernetes });
    this.#invalidation = new CacheInvalidation(ctx, log, cache);
  }

  async start(): Promise<void> {
    this.#invalidation.start();
    await this.leases.start();
    this.kubernetes.start();
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    await this.kubernetes.stop();
    await this.leases.stop();
    await this.#invalidation.stopped();
  }
}
