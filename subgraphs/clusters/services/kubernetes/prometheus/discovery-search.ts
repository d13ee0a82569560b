import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import {
  type KubernetesApi,
  KubernetesFailure,
  type KubernetesObject,
  NODES,
  type ResourceKind,
  SERVICES,
} from "../../../../kit/kubernetes/types.ts";
import type { PrometheusCandidate } from "../cluster-types.ts";
import { type Place, rankedPlaces } from "./places.ts";
import type { PrometheusProbe } from "./prometheus-probe.ts";
import { matchOf, USUAL_NAMESPACES } from "./service-match.ts";
import { INGRESSES, type IngressObject, type NodeObject, type ServiceObject } from "./service-objects.ts";

export interface SearchResult {
  /** Null: no place answered. */
  url: string | null;
  /** What was tried until then, in the order of preference. */
  candidates: PrometheusCandidate[];
  /** What could not be looked at; null: everything was. */
  gap: string | null;
}

export interface SearchParts {
  api: Pick<KubernetesApi, "list">;
  probe: Pick<PrometheusProbe, "ask">;
  signal: AbortSignal;
  /** After each few places: all that were tried so far. */
  onTried(candidates: PrometheusCandidate[]): Promise<void>;
}

const MAX_PLACES = 40;
/** Places that are asked at the same time; the first in the order of preference wins. */
const AT_ONCE = 4;
const PAGE = 500;
const MAX_SERVICES = 10_000;
const MAX_INGRESS_NAMESPACES = 20;
const MAX_NODES = 20;

/** Looks through one cluster for its Prometheus: first where it usually is, then everywhere. */
export class DiscoverySearch {
  readonly #parts: SearchParts;
  readonly #candidates: PrometheusCandidate[] = [];
  #gap: string | null = null;

  constructor(parts: SearchParts) {
    this.#parts = parts;
  }

  /** What was tried so far, also of a search that did not end. */
  get candidates(): PrometheusCandidate[] {
    return this.#candidates;
  }

  /** Throws what the signal aborts with, and the KubernetesFailure of a cluster that could not be asked at all. */
  async run(): Promise<SearchResult> {
    const usual = await Promise.all(USUAL_NAMESPACES.map((namespace) => this.#services(namespace)));
    const url = (await this.#firstThatAnswers(usual.flat())) ?? (await this.#firstThatAnswers(await this.#elsewhere()));
    return { url, candidates: this.#candidates, gap: this.#gap };
  }

  async #elsewhere(): Promise<ServiceObject[]> {
    const usual: readonly string[] = USUAL_NAMESPACES;
    return (await this.#services(null)).filter(({ metadata }) => !usual.includes(metadata.namespace ?? ""));
  }

  async #firstThatAnswers(services: ServiceObject[]): Promise<string | null> {
    const left = MAX_PLACES - this.#candidates.length;
    if (services.length === 0 || left <= 0) return null;
    const places = rankedPlaces({ services, ingresses: await this.#ingresses(services), nodes: await this.#nodes(services) }, left);
    for (let start = 0; start < places.length; start += AT_ONCE) {
      const found = await this.#ask(places.slice(start, start + AT_ONCE));
      if (found !== null) return found;
      await this.#parts.onTried(this.#candidates);
    }
    return null;
  }

  async #ask(places: Place[]): Promise<string | null> {
    const { probe, signal } = this.#parts;
    const errors = await Promise.all(places.map((place) => probe.ask(place, signal)));
    for (const [index, { namespace, name, exposure, url }] of places.entries()) {
      const error = errors[index] ?? null;
      this.#candidates.push({ namespace, name, exposure, url, error });
      if (error === null) return url;
    }
    return null;
  }

  /** Those that may be Prometheus, page by page: others are not kept. */
  async #services(namespace: string | null): Promise<ServiceObject[]> {
    return this.#list<ServiceObject>(SERVICES, namespace, MAX_SERVICES, (service) => matchOf(service) !== null);
  }

  async #ingresses(services: ServiceObject[]): Promise<IngressObject[]> {
    const namespaces = [...new Set(services.flatMap(({ metadata }) => metadata.namespace ?? []))].slice(0, MAX_INGRESS_NAMESPACES);
    return (await Promise.all(namespaces.map((namespace) => this.#list<IngressObject>(INGRESSES, namespace, PAGE)))).flat();
  }

  async #nodes(services: ServiceObject[]): Promise<NodeObject[]> {
    const needed = services.some(({ spec }) => spec?.ports?.some(({ nodePort }) => nodePort));
    return needed ? this.#list<NodeObject>(NODES, null, MAX_NODES) : [];
  }

  /** What the cluster's account may not list is left out, and said; any other failure ends the search. */
  async #list<T extends KubernetesObject>(
    kind: ResourceKind,
    namespace: string | null,
    max: number,
    keep: (object: T) => boolean = () => true,
  ): Promise<T[]> {
    const { api, signal } = this.#parts;
    const kept: T[] = [];
    let continueToken: string | undefined;
    try {
      for (let seen = 0; seen < max; seen += PAGE) {
        const page = await api.list<T>(kind, { namespace, limit: Math.min(PAGE, max), continueToken, signal });
        kept.push(...page.items.filter(keep));
        if (page.continueToken === null) return kept;
        continueToken = page.continueToken;
      }
      if (kind === SERVICES) this.#gap ??= `Only the first ${max} ${kind.plural} were looked at.`;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof KubernetesFailure) || ![403, 404].includes(error.status ?? 0)) throw FleetError.from(error);
      if (error.status === 403)
        this.#gap ??= `The cluster's account may not list ${kind.plural}${namespace === null ? "" : ` of ${namespace}`}.`;
    }
    return kept;
  }
}
