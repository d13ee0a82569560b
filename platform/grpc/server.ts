import { format } from "node:util";
import { type ServerOptions, setLogger } from "@grpc/grpc-js";
import { type CallContext, createServer, type Server, type ServiceImplementation, type TsProtoServiceDefinition } from "nice-grpc";
import { FleetError } from "../errors/fleet-error.ts";
import type { Logger } from "../observability/log.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { Authenticate } from "./authenticate.ts";
import type { FleetContext } from "./call-context.ts";
import { ServerSessions } from "./call-facts.ts";
import { type HandlerEnvironment, handleStream, handleUnary } from "./call-handlers.ts";
import { HealthService } from "./health.ts";
import { formatHostPort, parseHostPort, resolvesToLoopback } from "./listen-address.ts";
import { OpenCalls } from "./open-calls.ts";
import { addReflection } from "./reflection.ts";
import { withSafeMessages } from "./request-decoding.ts";
import { MethodMetrics } from "./server-metrics.ts";
import type { ServerTls } from "./server-tls.ts";
import { UnaryCalls } from "./unary-calls.ts";

export interface GrpcServerOptions {
  log: Logger;
  metrics: Metrics;
  /** Called once per call, before its method. */
  authenticate: Authenticate;
  /** Null: plaintext, on loopback only. */
  credentials: ServerTls | null;
  /** gRPC server reflection; on by default. It shows the public contract, to anyone who reaches the port. */
  reflection?: boolean;
  /** The longest request; 4 MiB by default. */
  maxRequestBytes?: number;
  /** How much a client may send ahead of what was read, for servers that are sent much; HTTP/2's own 64 KiB by default. */
  receiveWindowBytes?: number;
  /** Calls at once on one connection; 256 by default. */
  maxConcurrentStreams?: number;
  /** For unary calls that bring no deadline; 60 s by default. */
  defaultDeadlineMs?: number;
}

/** A service's methods as this server calls them: request, and a context with `fleet: RequestContext`. */
export type FleetServiceImplementation<Service extends TsProtoServiceDefinition> = {
  [Method in keyof ServiceImplementation<Service>]: WithFleetContext<ServiceImplementation<Service>[Method]>;
};

type WithFleetContext<Method> = Method extends (request: infer Request, context: CallContext) => infer Answer
  ? (request: Request, context: FleetContext) => Answer
  : never;

/** What a service has instead of its server's. */
export interface ServiceOptions {
  authenticate?: Authenticate;
}

/** A service with its methods, for lists of services of several kinds; made by `grpcService`, which checks that they fit. */
export type GrpcService = readonly [definition: TsProtoServiceDefinition, implementation: object, options?: ServiceOptions];

export interface GrpcServer {
  /** Adds a service, before `listen`. */
  add<Service extends TsProtoServiceDefinition>(definition: Service, implementation: FleetServiceImplementation<Service>): void;
  addAll(services: Iterable<GrpcService>): void;
  /**
   * Serves on `host:port` (0: any free port) and tells the port. Throws FAILED_PRECONDITION for plaintext beyond loopback and for
   * a port in use, INVALID_ARGUMENT for what is no address.
   */
  listen(address: string): Promise<number>;
  /** What grpc.health.v1 says about a service, "" for the server as a whole. All serve from `listen` to `stop` unless told otherwise. */
  setServing(service: string, serving: boolean): void;
  /** Takes no more calls, ends streams with DRAINING, and gives unary calls `graceMs` to finish; then cancels what is left. */
  stop(graceMs: number): Promise<void>;
}

/** Pairs a service with its methods, checked against each other. */
export function grpcService<Service extends TsProtoServiceDefinition>(
  definition: Service,
  implementation: FleetServiceImplementation<Service>,
  options: ServiceOptions = {},
): GrpcService {
  return [definition, implementation, options];
}

const MIB = 1024 * 1024;
/** For the last answers to leave, once their methods are done. */
const FLUSH_MS = 500;

/** A gRPC server; see the methods of `GrpcServer`. */
export function createGrpcServer(options: GrpcServerOptions): GrpcServer {
  return new FleetGrpcServer(options);
}

class FleetGrpcServer implements GrpcServer {
  readonly #options: GrpcServerOptions;
  readonly #server: Server;
  readonly #environment: HandlerEnvironment;
  readonly #services: string[] = [];
  readonly #health = new HealthService();
  readonly #sessions: ServerSessions;
  readonly #unary: UnaryCalls;
  #stopped: Promise<void> | null = null;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#sessions = new ServerSessions(options.receiveWindowBytes);
    this.#unary = new UnaryCalls(this.#sessions);
    logLibrary(options.log);
    this.#server = createServer(serverOptions(options, this.#unary));
    this.#environment = {
      log: options.log,
      authenticate: options.authenticate,
      defaultDeadlineMs: options.defaultDeadlineMs ?? 60_000,
      calls: new OpenCalls(),
    };
    options.metrics.gauge("grpc_server_open_streams", "Server streams that are open now.", [], (gauge) =>
      gauge.set(this.#environment.calls.streams),
    );
  }

  add<Service extends TsProtoServiceDefinition>(definition: Service, implementation: FleetServiceImplementation<Service>): void {
    this.addAll([grpcService(definition, implementation)]);
  }

  addAll(services: Iterable<GrpcService>): void {
    for (const [definition, implementation, own] of services) {
      this.#services.push(definition.fullName);
      const methods = implementation as Record<string, (request: unknown, context: unknown) => unknown>;
      const handlers = this.#handlers(definition, methods, { ...this.#environment, ...own });
      this.#server.add(withSafeMessages(definition, this.#options.log), handlers as ServiceImplementation<TsProtoServiceDefinition>);
    }
  }

  async listen(address: string): Promise<number> {
    const { credentials } = this.#options;
    const { host, port } = parseHostPort(address);
    if (credentials === null && !(await resolvesToLoopback(host))) {
      throw new FleetError("FAILED_PRECONDITION", `Plaintext gRPC is for this machine only: ${host} needs TLS.`, {
        reason: "PlaintextRefused",
      });
    }
    this.#health.addTo(this.#server, this.#services);
    if (this.#options.reflection !== false) await addReflection(this.#server, this.#services);
    try {
      return await this.#server.listen(formatHostPort({ host, port }), credentials ?? undefined);
    } catch (cause) {
      throw new FleetError("FAILED_PRECONDITION", `Cannot listen on ${address}: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      });
    }
  }

  setServing(service: string, serving: boolean): void {
    this.#health.set(service, serving);
  }

  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const { calls } = this.#environment;
    const draining = new FleetError("DRAINING", "The server is stopping: connect again.");
    this.#health.stop();
    const closed = this.#server.shutdown().catch(() => undefined);
    calls.abortStreams(draining);
    // A connection that only stays open must not use up the time of those that work.
    await within(graceMs, closed, calls.empty());
    calls.abortAll(draining);
    await within(Math.min(graceMs, FLUSH_MS), closed);
    this.#sessions.destroy();
    this.#server.forceShutdown();
  }

  #handlers(
    definition: TsProtoServiceDefinition,
    implementation: Record<string, (request: unknown, context: unknown) => unknown>,
    environment: HandlerEnvironment,
  ) {
    const handlers: Record<string, (request: unknown, context: CallContext) => unknown> = {};
    for (const [name, { name: method, requestStream, responseStream }] of Object.entries(definition.methods)) {
      const bound = implementation[name]?.bind(implementation);
      if (bound === undefined) throw new Error(`${definition.fullName} has no method ${name}.`);
      const path = `/${definition.fullName}/${method}`;
      const handled = { path, requestStream, metrics: new MethodMetrics(this.#options.metrics, definition.fullName, method) };
      if (responseStream) {
        handlers[name] = handleStream(environment, handled, bound as Parameters<typeof handleStream>[2]);
        continue;
      }
      if (requestStream) throw new Error(`${path}: a stream of requests with one answer is not served here.`);
      this.#unary.add(path, handleUnary(environment, handled, bound as Parameters<typeof handleUnary>[2]));
      handlers[name] = unreachable;
    }
    return handlers;
  }
}

/** What nice-grpc has for a method that `UnaryCalls` answers. */
function unreachable(): never {
  throw new Error("A unary call passed its interceptor.");
}

/** grpc-js speaks on the console unless it is given a log. It has one for the process, so that the last server's is taken. */
function logLibrary(log: Logger): void {
  const line = (...words: unknown[]) => log.debug({ text: format(...words) }, "grpc-js");
  setLogger({ error: line, info: line, debug: line });
}

/** Resolves with the first of them, and after `ms` at the latest. */
async function within(ms: number, ...promises: Array<Promise<void>>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const time = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([...promises, time]);
  clearTimeout(timer);
}

function serverOptions({ maxRequestBytes = 4 * MIB, maxConcurrentStreams = 256 }: GrpcServerOptions, unary: UnaryCalls): ServerOptions {
  return {
    interceptors: [unary.interceptor],
    "grpc.max_receive_message_length": maxRequestBytes,
    // What is sent is made here and bounded by its page size; this only stops the absurd.
    "grpc.max_send_message_length": 64 * MIB,
    "grpc.max_concurrent_streams": maxConcurrentStreams,
    // A client whose machine or network went away is noticed within 80 s.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    // Its book-keeping per connection serves a debugger that is not there.
    "grpc.enable_channelz": 0,
  };
}
