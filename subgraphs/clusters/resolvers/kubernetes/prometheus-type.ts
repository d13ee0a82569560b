import { Field, ID, InputType, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime } from "../../../kit/graphql/scalars.ts";
import {
  DISCOVERY_OUTCOMES,
  type DiscoveryOutcome,
  PROMETHEUS_EXPOSURES,
  PROMETHEUS_SOURCES,
  PROMETHEUS_STATES,
  type PrometheusExposure,
  type PrometheusSource,
  type PrometheusState,
} from "../../services/kubernetes/cluster-types.ts";

const PrometheusSourceEnum = enumOf(PROMETHEUS_SOURCES);
registerEnumType(PrometheusSourceEnum, {
  name: "PrometheusSource",
  description: "Where a Prometheus URL is from.",
  valuesConfig: {
    MANUAL: { description: "Set by an admin; nothing is looked for." },
    DISCOVERED: { description: "Found in the cluster, where it answered." },
  },
});

const PrometheusStateEnum = enumOf(PROMETHEUS_STATES);
registerEnumType(PrometheusStateEnum, {
  name: "PrometheusState",
  description: "What is known of a cluster's Prometheus.",
  valuesConfig: {
    OFF: { description: "It is not looked for." },
    PENDING: { description: "It is looked for once the cluster is healthy." },
    SEARCHING: { description: "It is being looked for." },
    CONFIGURED: { description: "Its URL was set by an admin." },
    FOUND: { description: "It was found, and answered." },
    NOT_FOUND: { description: "Nothing in the cluster answered as Prometheus does; the candidates say why." },
  },
});

const DiscoveryOutcomeEnum = enumOf(DISCOVERY_OUTCOMES);
registerEnumType(DiscoveryOutcomeEnum, {
  name: "PrometheusDiscoveryOutcome",
  description: "How a run of the Prometheus discovery ended.",
  valuesConfig: {
    FOUND: { description: "A candidate answered." },
    NOT_FOUND: { description: "None did." },
    FAILED: { description: "The cluster could not be asked, or its time was over; a URL that was found before is kept." },
    CANCELLED: { description: "The cluster was deleted, disabled or changed meanwhile, or the server stopped." },
  },
});

const ExposureEnum = enumOf(PROMETHEUS_EXPOSURES);
registerEnumType(ExposureEnum, {
  name: "PrometheusExposure",
  description: "How a service in a cluster is reached.",
  valuesConfig: {
    LOAD_BALANCER: { description: "By its load balancer's address." },
    INGRESS: { description: "By a rule of an Ingress." },
    NODE_PORT: { description: "By a port of a node." },
    CLUSTER_IP: { description: "Only within the cluster; from outside through the API server's service proxy." },
  },
});

@ObjectType("PrometheusDiscoveryRun", { simpleResolvers: true })
export class PrometheusDiscoveryRunType {
  @Field(() => DateTime)
  startedAt!: string;

  @Field(() => DateTime, { nullable: true, description: "Null while it runs." })
  finishedAt!: string | null;

  @Field(() => DiscoveryOutcomeEnum, { nullable: true, description: "Null while it runs." })
  outcome!: DiscoveryOutcome | null;

  @Field(() => String, { nullable: true, description: "A sentence, for people." })
  message!: string | null;
}

@ObjectType("PrometheusCandidate", { description: "A place where Prometheus was looked for.", simpleResolvers: true })
export class PrometheusCandidateType {
  @Field(() => String)
  namespace!: string;

  @Field(() => String, { description: "The service's." })
  name!: string;

  @Field(() => ExposureEnum)
  exposure!: PrometheusExposure;

  @Field(() => String, { description: "What was asked; of CLUSTER_IP the name within the cluster." })
  url!: string;

  @Field(() => String, { nullable: true, description: "Why it was passed over; null of the one that answered." })
  error!: string | null;
}

@ObjectType("KubernetesPrometheus", { description: "A cluster's Prometheus.", simpleResolvers: true })
export class KubernetesPrometheusType {
  @Field(() => String, { nullable: true, description: "Its base URL. Null while none is known." })
  url!: string | null;

  @Field(() => PrometheusSourceEnum, { nullable: true, description: "Null while no URL is known." })
  source!: PrometheusSource | null;

  @Field(() => PrometheusStateEnum)
  state!: PrometheusState;

  @Field(() => PrometheusDiscoveryRunType, { nullable: true, description: "Null before the first one." })
  lastRun!: PrometheusDiscoveryRunType | null;

  @Field(() => [PrometheusCandidateType], {
    description: "What the last run tried, in the order of preference: the best ones, at most 40.",
  })
  candidates!: PrometheusCandidateType[];
}

@InputType("RediscoverPrometheusInput")
export class RediscoverPrometheusInput {
  @Field(() => ID, { description: "The cluster's." })
  id!: string;
}

@ObjectType("RediscoverPrometheusPayload", { simpleResolvers: true })
export class RediscoverPrometheusPayload {
  @Field(() => ID)
  clusterId!: string;

  @Field(() => DateTime)
  taskStartedAt!: string;
}
