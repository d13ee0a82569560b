import { type ExecutionResult, GraphQLError, type GraphQLFormattedError } from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { publicExtensions } from "../execution/public-errors.ts";
import { faultToGraphQLError } from "../transport/faults.ts";

/** Why a subscription ended before its time, as its client will be told. */
export class StreamEnd extends Error {
  readonly errors: readonly GraphQLFormattedError[];
  readonly code: string;
  /** The domain's own name for the case, where there is one. */
  readonly reason: string | undefined;

  constructor(errors: readonly GraphQLFormattedError[], cause?: unknown) {
    super(errors[0]?.message ?? "The subscription ended.", { cause });
    this.errors = errors;
    this.code = String(errors[0]?.extensions?.code ?? "INTERNAL");
    const reason = errors[0]?.extensions?.reason;
    this.reason = typeof reason === "string" ? reason : undefined;
  }

  /** Any thrown value; what is not for clients is masked. */
  static from(error: unknown): StreamEnd {
    if (error instanceof StreamEnd) return error;
    return new StreamEnd([faultToGraphQLError(FleetError.from(error)).toJSON()], error);
  }

  /** The end that a subgraph tells as its last result: errors and no data at all. Null for a result that is an event. */
  static inResult(result: ExecutionResult): StreamEnd | null {
    if (result.data !== undefined) return null;
    const errors: readonly { message: string; extensions?: Readonly<Record<string, unknown>> }[] = result.errors ?? [];
    if (errors.length === 0) return StreamEnd.from(new Error("A result without data and errors."));
    return new StreamEnd(
      errors.map(({ message, extensions = {} }) =>
        new GraphQLError(message, { extensions: { code: "INTERNAL", ...publicExtensions(extensions) } }).toJSON(),
      ),
    );
  }
}
