import type { GraphQLDataSource } from "@apollo/gateway";
import type { ExecutionResult } from "graphql";
import { remainingMs } from "../../platform/request-context.ts";
import type { GatewayMetrics } from "../metrics.ts";
import type { SubgraphTransport } from "../transport/subgraph-transport.ts";
import { numberByObject, objectsAt } from "./entity-paths.ts";
import { atFetchPath } from "./public-errors.ts";
import { type ExecutionScope, forwardedHeaders } from "./request-scope.ts";

type ProcessOptions = Parameters<GraphQLDataSource["process"]>[0];
type Variables = ProcessOptions["request"]["variables"];
type ResponsePath = readonly (string | number)[];
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
    const { request, event, roots } = options.context as ExecutionScope;
    const path = "pathInIncomingRequest" in options ? (options.pathInIncomingRequest ?? []) : [];
    if (event && event.subgraph === this.#transport.name && event.query === query)
      return this.#answer(event.result, path, roots, variables);
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
    return this.#answer(result, path, roots, variables);
  }

  /** `path` is empty for a fetch of root fields; `roots` then takes what it brought, in which later fetches find their objects. */
  #answer({ data, errors }: ExecutionResult, path: ResponsePath, roots: unknown[], variables: Variables): ProcessResult {
    if (path.length === 0 && data) roots.push(data);
    if (!errors || errors.length === 0) return { data: data as ProcessResult["data"] };
    if (data === undefined) return { data: null, errors: errors.map((error) => (error.path ? error : atFetchPath(error, path))) };
    const representations: unknown = variables?.["representations"];
    const [head] = path;
    const root = head === undefined ? undefined : roots.find((candidate) => Object.hasOwn(candidate as object, head));
    if (!Array.isArray(representations) || root === undefined) return { data: data as ProcessResult["data"], errors };
    return { data: data as ProcessResult["data"], errors: numberByObject(errors, representations, objectsAt(root, path)) };
  }
}
