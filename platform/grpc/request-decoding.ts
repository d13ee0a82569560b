import type { TsProtoServiceDefinition } from "nice-grpc";
import { invalidArgument } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";

/** What stands in a request's place that could not be decoded. */
class UndecodableRequest {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/**
 * The same service, whose requests never fail to decode and whose answers say in the log why they cannot be encoded.
 * Without this grpc-js answers INTERNAL to a client's mistake, before any handler runs.
 */
export function withSafeMessages<Service extends TsProtoServiceDefinition>(definition: Service, log: Logger): Service {
  const methods: TsProtoServiceDefinition["methods"] = {};
  for (const [name, method] of Object.entries(definition.methods)) {
    const { requestType, responseType } = method;
    methods[name] = {
      ...method,
      requestType: { encode: requestType.encode, decode: (bytes) => decodeOr(() => requestType.decode(bytes)) },
      responseType: {
        ...responseType,
        encode(message) {
          try {
            return responseType.encode(message);
          } catch (err) {
            log.error({ err, method: name }, "an answer cannot be encoded");
            throw err;
          }
        },
      },
    };
  }
  return { ...definition, methods };
}

/** The request, or for a stream of them the stream. Throws INVALID_ARGUMENT for what could not be decoded. */
export function checkDecoded<Request>(request: Request | AsyncIterable<Request>, isStream: boolean): Request | AsyncIterable<Request> {
  return isStream ? checkedStream(request as AsyncIterable<Request>) : checked(request as Request);
}

async function* checkedStream<Request>(requests: AsyncIterable<Request>): AsyncIterable<Request> {
  for await (const request of requests) yield checked(request);
}

/** The request. Throws INVALID_ARGUMENT where it could not be decoded. */
export function checked<Request>(request: Request): Request {
  if (!(request instanceof UndecodableRequest)) return request;
  const why =
    request.cause instanceof Error && /_SAFE_INTEGER/.test(request.cause.message) ? "an integer is beyond ±(2^53 - 1)" : "it is malformed";
  throw invalidArgument("request", `The request cannot be read: ${why}.`);
}

function decodeOr<T>(decode: () => T): T | UndecodableRequest {
  try {
    return decode();
  } catch (error) {
    return new UndecodableRequest(error);
  }
}
