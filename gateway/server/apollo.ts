import { ApolloServer, type ApolloServerOptionsWithGateway, type ApolloServerPlugin } from "@apollo/server";
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from "@apollo/server/plugin/disabled";
import { GraphQLError, getVariableValues, OperationTypeNode } from "graphql";
import type { Logger } from "../../platform/observability/log.ts";
import { runOperation } from "../execution/executor.ts";
import type { Graph } from "../execution/graph.ts";
import { formatError, publicErrors } from "../execution/public-errors.ts";
import type { RequestScope } from "../execution/request-scope.ts";
import type { GatewayLimits } from "../limits.ts";
import { codeLabel, type GatewayMetrics } from "../metrics.ts";

type GatewayInterface = ApolloServerOptionsWithGateway<RequestScope>["gateway"];
type LoadResult = Awaited<ReturnType<GatewayInterface["load"]>>;
type Executor = NonNullable<LoadResult["executor"]>;

/** Apollo Server over the graph: its pipeline and plugins run for every query and mutation, whatever carried it here. */
export function createApolloServer(graph: Graph, limits: GatewayLimits, metrics: GatewayMetrics, log: Logger): ApolloServer<RequestScope> {
  return new ApolloServer<RequestScope>({
    gateway: gatewayOver(graph),
    nodeEnv: "production",
    introspection: true,
    csrfPrevention: true,
    allowBatchedHttpRequests: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    parseOptions: { maxTokens: limits.documentTokens },
    formatError,
    logger: {
      debug: (message) => log.debug(message),
      info: (message) => log.info(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    },
    plugins: [
      ApolloServerPluginLandingPageDisabled(),
      ApolloServerPluginUsageReportingDisabled(),
      ApolloServerPluginSchemaReportingDisabled(),
      ApolloServerPluginInlineTraceDisabled(),
      ApolloServerPluginCacheControlDisabled(),
      operationMetrics(metrics),
    ],
  });
}

/** What Apollo Server takes for its gateway: announces each supergraph, and executes. */
function gatewayOver(graph: Graph): GatewayInterface {
  const listeners = new Set<Parameters<GatewayInterface["onSchemaLoadOrUpdate"]>[0]>();
  const announce = () => {
    const { schema, sdl } = graph.supergraph.current;
    for (const listener of listeners) listener({ apiSchema: schema, coreSupergraphSdl: sdl });
  };
  const stopAnnouncing = graph.supergraph.onSwap(announce);
  return {
    onSchemaLoadOrUpdate(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async load() {
      announce();
      return { executor: executorOver(graph) };
    },
    async stop() {
      stopAnnouncing();
    },
  };
}

function executorOver(graph: Graph): Executor {
  return async ({ request, document, operation, schema, source, context }) => {
    const scope = context as RequestScope;
    if (!operation) return { errors: [new GraphQLError("Unknown operation: name one that the document holds.")] };
    if (operation.operation === OperationTypeNode.SUBSCRIPTION) return { errors: [overHttp()] };
    // The request was validated for this snapshot; a newer one may be in use by now.
    const snapshot = graph.supergraph.of(schema);
    const { errors } = getVariableValues(snapshot.schema, operation.variableDefinitions ?? [], request.variables ?? {});
    if (errors) return { errors };
    try {
      const prepared = graph.operations(snapshot).prepare(source, document, request.operationName ?? undefined);
      return (await runOperation(prepared, request.variables, scope, graph.dataSources)) as Awaited<ReturnType<Executor>>;
    } catch (error) {
      return { errors: publicErrors([error], scope.request.log) };
    }
  };
}

function overHttp(): GraphQLError {
  return new GraphQLError("Subscriptions need a WebSocket (graphql-transport-ws) at this address.", {
    extensions: { code: "BAD_REQUEST", http: { status: 400 } },
  });
}

function operationMetrics({ operationSeconds, errors }: GatewayMetrics): ApolloServerPlugin<RequestScope> {
  return {
    async requestDidStart() {
      const stop = operationSeconds.startTimer();
      return {
        async willSendResponse({ operation, response: { body } }) {
          const result = body.kind === "single" ? body.singleResult : body.initialResult;
          for (const error of result.errors ?? []) errors.inc({ code: codeLabel(error.extensions?.code) });
          stop({ type: operation?.operation ?? "unknown", outcome: outcomeOf(result) });
        },
      };
    },
  };
}

function outcomeOf(result: { data?: unknown; errors?: readonly unknown[] | undefined }): string {
  if (!result.errors || result.errors.length === 0) return "ok";
  return result.data === undefined || result.data === null ? "error" : "partial";
}
