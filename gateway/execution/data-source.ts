import type { GraphQLDataSource } from "@apollo/gateway";
import type { GraphQLError } from "graphql";
import { remainingMs } from "../../platform/request-context.ts";
import type { GatewayMetrics } from "../metrics.ts";
import type { SubgraphTransport } from "../transport/subgraph-transport.ts";
import { atFetchPath } from "./public-errors.ts";
import { forwardedHeaders, type RequestScope } from "./request-scope.ts";

type ProcessOptions = Parameters<GraphQLDataSource["process"]>[0];
type ProcessResult = Awaited<ReturnType<GraphQLDataSource["process"]>>;

/** The executor's way to one subgraph. */
export class SubgraphDataSource implements GraphQLDataSource {
  readonly #transport: SubgraphTransport;
  readonly #metrics: GatewayMetrics;

  constructor(transport: SubgraphTransport, metrics: GatewayMetrics) {
    this.#transport = transport;
    this.#metrics = metrics;
  }

  async process(options: ProcessOptions): Promise<ProcessResult> {
    const { query = "", operationName, variables } = options.request;
    const { request, event } = options.context as RequestScope;
    if (event && event.subgraph === this.#transport.name && event.query === query) return answer(event.result);
    const stop = this.#metrics.fetchSeconds.startTimer({ subgraph: this.#transport.name });
    const result = await this.#transport.execute({
      query,
      operationName,
      variables,
      headers: forwardedHeaders(request),
      deadlineMs: remainingMs(request) ?? undefined,
      signal: request.signal,
    });
    stop();
    const { data, errors } = answer(result);
    if (data !== undefined || !errors) return { data, errors };
    const path = "pathInIncomingRequest" in options ? (options.pathInIncomingRequest ?? []) : [];
    return { data: null, errors: (errors as readonly GraphQLError[]).map((error) => (error.path ? error : atFetchPath(error, path))) };
  }
}

function answer(result: { data?: unknown; errors?: readonly GraphQLError[] | undefined }): ProcessResult {
  return { data: result.data as ProcessResult["data"], ...(result.errors && result.errors.length > 0 && { errors: result.errors }) };
}
