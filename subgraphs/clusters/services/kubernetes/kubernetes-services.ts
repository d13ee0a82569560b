import type { RequestContext } from "../../../../platform/request-context.ts";
import type { SecretKeys } from "../../../../platform/secrets/secret-keys.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { AccessCheck } from "./access-check.ts";
import { ClusterClaims } from "./cluster-claims.ts";
import { ClusterClients } from "./cluster-clients.ts";
import { ClusterNews } from "./cluster-news.ts";
import { KubernetesClusterQueries } from "./cluster-queries.ts";
import { ClusterWriter } from "./cluster-writer.ts";
import { ConnectionTests } from "./health/connection-tests.ts";
import { type HealthCheckConfig, HealthChecks } from "./health/health-checks.ts";
import { KubernetesHealthWriter } from "./health-writer.ts";
import { KubeconfigSecrets } from "./kubeconfig-secrets.ts";
import { KubernetesObjects } from "./objects/kubernetes-objects.ts";
import { PrometheusDiscovery } from "./prometheus/prometheus-discovery.ts";
import { KubernetesRegistry } from "./registry.ts";

export interface KubernetesServicesParts {
  store: Store;
  log: EventLog;
  secrets: SecretKeys;
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  config: HealthCheckConfig;
}

/** All of Kubernetes clusters, wired together. */
export class KubernetesServices {
  readonly queries: KubernetesClusterQueries;
  readonly registry: KubernetesRegistry;
  readonly clients: ClusterClients;
  readonly news: ClusterNews;
  readonly claims: ClusterClaims;
  readonly health: KubernetesHealthWriter;
  readonly objects: KubernetesObjects;
  readonly checks: HealthChecks;
  readonly connections: ConnectionTests;
  readonly prometheus: PrometheusDiscovery;
  readonly #ctx: RequestContext;
  readonly #secrets: KubeconfigSecrets;
  #resealing: Promise<unknown> = Promise.resolve();

  constructor({ store, log, secrets, ctx, config }: KubernetesServicesParts) {
    const writer = new ClusterWriter(store);
    this.#ctx = ctx;
    this.#secrets = new KubeconfigSecrets(store, secrets);
    this.queries = new KubernetesClusterQueries(store, log, this.#secrets);
    this.registry = new KubernetesRegistry(writer, this.#secrets, new AccessCheck());
    this.clients = new ClusterClients(ctx, store, this.#secrets);
    this.news = new ClusterNews(ctx, store, log);
    this.claims = new ClusterClaims(store);
    this.health = new KubernetesHealthWriter(writer);
    this.objects = new KubernetesObjects({ store, clients: this.clients, ctx });
    const { clients, news, claims, health, queries } = this;
    this.prometheus = new PrometheusDiscovery({ ctx, clients, claims, news, writer: health });
    const onChecked = this.prometheus.consider.bind(this.prometheus);
    this.checks = new HealthChecks({ ctx, claims, clients, news, writer: health, config, onChecked });
    const onReached = this.checks.checkSoon.bind(this.checks);
    this.connections = new ConnectionTests({ queries, secrets: this.#secrets, access: new AccessCheck(), onReached });
    this.clients.follow(this.news);
  }

  start(): void {
    const { log } = this.#ctx;
    this.#resealing = this.#secrets
      .resealAll(this.#ctx)
      .catch((error: unknown) => log.warn({ err: error }, "old secrets were not sealed anew"));
    this.prometheus.start();
    this.checks.start();
    this.news.start();
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    this.objects.stop();
    await Promise.all([this.#resealing, this.news.stopped(), this.checks.stop(), this.prometheus.stop()]);
    await this.clients.stop();
  }
}
