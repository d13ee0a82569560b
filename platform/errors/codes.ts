import { status as GrpcStatus } from "@grpc/grpc-js";

/**
 * The one error table: our code ↔ gRPC status ↔ HTTP status ↔ WebSocket close code.
 * GraphQL carries the code itself in `extensions.code`. `wsClose` is null where the code never closes a socket.
 */
export const ERROR_TABLE = {
  UNAUTHENTICATED: { grpc: GrpcStatus.UNAUTHENTICATED, http: 401, wsClose: 4401 },
  FORBIDDEN: { grpc: GrpcStatus.PERMISSION_DENIED, http: 403, wsClose: 4403 },
  NOT_FOUND: { grpc: GrpcStatus.NOT_FOUND, http: 404, wsClose: null },
  ALREADY_EXISTS: { grpc: GrpcStatus.ALREADY_EXISTS, http: 409, wsClose: null },
  INVALID_ARGUMENT: { grpc: GrpcStatus.INVALID_ARGUMENT, http: 400, wsClose: null },
  FAILED_PRECONDITION: { grpc: GrpcStatus.FAILED_PRECONDITION, http: 412, wsClose: null },
  RESOURCE_EXHAUSTED: { grpc: GrpcStatus.RESOURCE_EXHAUSTED, http: 429, wsClose: null },
  CONFLICT: { grpc: GrpcStatus.ABORTED, http: 409, wsClose: null },
  UNAVAILABLE: { grpc: GrpcStatus.UNAVAILABLE, http: 503, wsClose: null },
  DEADLINE_EXCEEDED: { grpc: GrpcStatus.DEADLINE_EXCEEDED, http: 504, wsClose: null },
  CANCELLED: { grpc: GrpcStatus.CANCELLED, http: 499, wsClose: null },
  UNIMPLEMENTED: { grpc: GrpcStatus.UNIMPLEMENTED, http: 501, wsClose: null },
  INTERNAL: { grpc: GrpcStatus.INTERNAL, http: 500, wsClose: null },
  CURSOR_EXPIRED: { grpc: GrpcStatus.OUT_OF_RANGE, http: 410, wsClose: null },
  SLOW_CONSUMER: { grpc: GrpcStatus.RESOURCE_EXHAUSTED, http: 429, wsClose: 4429 },
  TOKEN_EXPIRED: { grpc: GrpcStatus.UNAUTHENTICATED, http: 401, wsClose: 4401 },
  SCHEMA_CHANGED: { grpc: GrpcStatus.UNAVAILABLE, http: 503, wsClose: null },
  DRAINING: { grpc: GrpcStatus.UNAVAILABLE, http: 503, wsClose: 1001 },
} as const satisfies Record<string, { grpc: GrpcStatus; http: number; wsClose: number | null }>;

export type ErrorCode = keyof typeof ERROR_TABLE;

/** True for a string that is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(ERROR_TABLE, value);
}
